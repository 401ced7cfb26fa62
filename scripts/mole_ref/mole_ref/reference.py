"""Everything of one library, in one object."""

from . import model, sampler
from .layer import Layer


class Reference(Layer):
    """Operations, the MoLE layer, and the makers of generators, schedules, tokenizers and models."""

    @property
    def version(self):
        return self.library.mole_version().decode()

    def set_threads(self, threads):
        """At most so many threads from now on; results do not depend on it."""
        self.call("set_threads", threads)

    def generator(self, seed):
        """torch.Generator().manual_seed(seed): see sampler.Generator"""
        return sampler.Generator(self, seed)

    def randn_cuda(self, shape, seed, offset=0, threads=0):
        """See sampler.randn_cuda"""
        return sampler.randn_cuda(self, shape, seed, offset, threads)

    def ddim(self, steps, settings="authors", **fields):
        """See sampler.Ddim"""
        return sampler.Ddim(self, steps, settings, **fields)

    def tokenizer(self, folder):
        """See model.Tokenizer"""
        return model.Tokenizer(self, folder)

    def model(self, folder, experts=None, gates=None, plain_lora=False):
        """See model.Model"""
        return model.Model(self, folder, experts, gates, plain_lora)
