/* calls.c - see calls.h. A case comes from a file: what the operations require of their callers is checked
 * here first, and told as an error of the file. */
#include "golden/calls.h"

#include <math.h>
#include <string.h>

#include "golden/calls_internal.h"
#include "golden/golden.h"
#include "mole/mole.h"
#include "ops/ops.h"

static size_t last(const input_t *in) {
    return in->shape.dim[in->shape.ndim - 1];
}

static size_t pixels(const input_t *in) {
    size_t count = 1;
    for (int d = 2; d < in->shape.ndim; d++) count *= in->shape.dim[d];
    return count;
}

static int take_eps(const call_t *c, double *eps) {
    if (json_get_double(c->attrs, "eps", eps, c->err)) return -1;
    if (*eps > 0) return 0;
    return json_node_error(c->attrs, "eps", c->err, "expected a number above 0, found %g", *eps);
}

/* (B,C,...) as operations on images want it. */
static real_t *channels_last(const call_t *c, const input_t *in) {
    real_t *out = arena_reals(c->run->arena, in->count);
    to_channels_last(out, in->x, in->shape.dim[0], in->shape.dim[1], pixels(in));
    return out;
}

static real_t *room(const call_t *c, size_t count) {
    return arena_reals(c->run->arena, count ? count : 1);
}

/* ---- outputs ----------------------------------------------------------------------------------------- */

static int show(const call_t *c, real_t *out, shape_t shape, layout_t layout) {
    if (shape.ndim < 3) layout = LAYOUT_TORCH; /* the same memory */
    tap_suffix(c->run->sink, c->id, out, (view_t){shape, layout}, ".out");
    return 0;
}

static shape_t with_last(shape_t shape, size_t size) {
    shape.dim[shape.ndim - 1] = size;
    return shape;
}

/* ---- operations -------------------------------------------------------------------------------------- */

static int call_matmul(const call_t *c) {
    input_t a, b;
    bool transposed;
    if (call_take(c, "a", 2, 2, &a) || call_take(c, "b", 2, 2, &b) ||
        json_get_bool(c->attrs, "transpose_b", &transposed, c->err))
        return -1;
    size_t M = a.shape.dim[0], K = a.shape.dim[1], N = b.shape.dim[transposed ? 0 : 1];
    if (b.shape.dim[transposed ? 1 : 0] != K) return call_misfit(c, "b", &b, "a", &a);
    real_t *out = room(c, M * N);
    matmul(out, N, a.x, K, b.x, last(&b), transposed, false, M, N, K, c->run->matmul);
    return show(c, out, SHAPE2(M, N), LAYOUT_TORCH);
}

static int call_linear(const call_t *c) {
    input_t x, weight, bias;
    if (call_take(c, "x", 1, SHAPE_DIMS, &x) || call_take(c, "weight", 2, 2, &weight)) return -1;
    size_t K = last(&x), M = x.count / K, N = weight.shape.dim[0];
    if (weight.shape.dim[1] != K) return call_misfit(c, "weight", &weight, "x", &x);
    if (call_take_shape(c, "bias", true, SHAPE1(N), &bias)) return -1;
    real_t *out = room(c, M * N);
    linear(out, x.x, weight.x, bias.x, M, K, N, c->run->matmul);
    return show(c, out, with_last(x.shape, N), LAYOUT_TORCH);
}

static int call_conv2d(const call_t *c) {
    input_t x, weight, bias;
    int64_t pad[4], stride;
    size_t sides;
    if (call_take(c, "x", 4, 4, &x) || call_take(c, "weight", 4, 4, &weight) ||
        json_get_int(c->attrs, "stride", 1, 1 << 10, &stride, c->err) ||
        json_get_ints(c->attrs, "padding", 0, 1 << 10, 4, 4, pad, &sides, c->err) ||
        call_take_shape(c, "bias", true, SHAPE1(weight.shape.dim[0]), &bias))
        return -1;
    size_t B = x.shape.dim[0], Ci = x.shape.dim[1], H = x.shape.dim[2], W = x.shape.dim[3];
    size_t Co = weight.shape.dim[0], kh = weight.shape.dim[2], kw = weight.shape.dim[3];
    conv2d_t g = {
        kh, kw, (size_t)stride, (size_t)pad[0], (size_t)pad[1], (size_t)pad[2], (size_t)pad[3]};
    if (weight.shape.dim[1] != Ci || H + g.top + g.bottom < kh || W + g.left + g.right < kw)
        return call_misfit(c, "weight", &weight, "x", &x);
    size_t Ho = conv2d_out(H, g.top, g.bottom, kh, g.stride);
    size_t Wo = conv2d_out(W, g.left, g.right, kw, g.stride);
    real_t *packed = room(c, weight.count), *out = room(c, B * Co * Ho * Wo);
    conv2d_pack_weight(packed, weight.x, Co, Ci, kh, kw);
    conv2d(out, channels_last(c, &x), packed, bias.x, B, Ci, H, W, Co, g,
           room(c, conv2d_work(B, Ci, H, W, Co, g, c->run->conv, c->run->matmul)), c->run->conv,
           c->run->matmul);
    return show(c, out, SHAPE4(B, Co, Ho, Wo), LAYOUT_CHANNELS_LAST);
}

static int call_group_norm(const call_t *c) {
    input_t x, weight, bias;
    int64_t groups;
    double eps;
    if (call_take(c, "x", 2, 5, &x) ||
        json_get_int(c->attrs, "groups", 1, 1 << 20, &groups, c->err) || take_eps(c, &eps))
        return -1;
    size_t C = x.shape.dim[1];
    if (call_take_shape(c, "weight", false, SHAPE1(C), &weight) ||
        call_take_shape(c, "bias", false, SHAPE1(C), &bias))
        return -1;
    if (C % (size_t)groups)
        return json_node_error(c->attrs, "groups", c->err, "%d do not divide the %zu channels of x",
                               (int)groups, C);
    real_t *out = room(c, x.count);
    group_norm(out, channels_last(c, &x), weight.x, bias.x, x.shape.dim[0], C, pixels(&x),
               (size_t)groups, eps);
    return show(c, out, x.shape, LAYOUT_CHANNELS_LAST);
}

static int call_layer_norm(const call_t *c) {
    input_t x, weight, bias;
    double eps;
    if (call_take(c, "x", 1, SHAPE_DIMS, &x) || json_get_double(c->attrs, "eps", &eps, c->err) ||
        call_take_shape(c, "weight", false, SHAPE1(last(&x)), &weight) ||
        call_take_shape(c, "bias", false, SHAPE1(last(&x)), &bias))
        return -1;
    real_t *out = room(c, x.count);
    layer_norm(out, x.x, weight.x, bias.x, x.count / last(&x), last(&x), eps);
    return show(c, out, x.shape, LAYOUT_TORCH);
}

static int elementwise(const call_t *c, void (*f)(real_t *, const real_t *, size_t)) {
    input_t x;
    if (call_take(c, "x", 1, SHAPE_DIMS, &x)) return -1;
    real_t *out = room(c, x.count);
    f(out, x.x, x.count);
    return show(c, out, x.shape, LAYOUT_TORCH);
}

static int call_sigmoid(const call_t *c) {
    return elementwise(c, sigmoid);
}
static int call_silu(const call_t *c) {
    return elementwise(c, silu);
}
static int call_gelu(const call_t *c) {
    return elementwise(c, gelu);
}
static int call_quick_gelu(const call_t *c) {
    return elementwise(c, quick_gelu);
}

static int call_geglu(const call_t *c) {
    input_t x;
    if (call_take(c, "x", 1, SHAPE_DIMS, &x)) return -1;
    if (last(&x) % 2) return call_refuse(c, "x has no two halves");
    size_t N = last(&x) / 2, M = x.count / (2 * N);
    real_t *out = room(c, M * N);
    geglu(out, x.x, M, N);
    return show(c, out, with_last(x.shape, N), LAYOUT_TORCH);
}

static int call_softmax(const call_t *c) {
    input_t x;
    if (call_take(c, "x", 1, SHAPE_DIMS, &x)) return -1;
    real_t *out = room(c, x.count);
    softmax(out, x.x, x.count / last(&x), last(&x));
    return show(c, out, x.shape, LAYOUT_TORCH);
}

static int call_attention(const call_t *c) {
    input_t q, k, v;
    int64_t heads;
    double scale;
    bool causal;
    if (call_take(c, "q", 3, 3, &q) || call_take(c, "k", 3, 3, &k) ||
        call_take_shape(c, "v", false, k.shape, &v) ||
        json_get_int(c->attrs, "heads", 1, 1 << 10, &heads, c->err) ||
        json_get_double(c->attrs, "scale", &scale, c->err) ||
        json_get_bool(c->attrs, "causal", &causal, c->err))
        return -1;
    size_t B = q.shape.dim[0], T = q.shape.dim[1], S = k.shape.dim[1], NH = (size_t)heads;
    size_t D = q.shape.dim[2] / NH;
    if (q.shape.dim[2] != NH * D)
        return json_node_error(c->attrs, "heads", c->err, "%zu do not divide the %zu channels of q",
                               NH, q.shape.dim[2]);
    if (k.shape.dim[0] != B || k.shape.dim[2] != NH * D || (causal && T != S))
        return call_misfit(c, "k", &k, causal ? "(causal) q" : "q", &q);
    real_t *out = room(c, q.count);
    attention(out, q.x, k.x, v.x, B, T, S, NH, D, scale, causal,
              room(c, attention_work(B, T, S, NH, D)), c->run->matmul);
    return show(c, out, q.shape, LAYOUT_TORCH);
}

static int call_embedding(const call_t *c) {
    input_t weight, ids;
    if (call_take(c, "weight", 2, 2, &weight) || call_take(c, "ids", 1, SHAPE_DIMS - 1, &ids))
        return -1;
    size_t V = weight.shape.dim[0], C = weight.shape.dim[1];
    int32_t *id = arena_bytes(c->run->arena, ids.count * sizeof *id);
    for (size_t i = 0; i < ids.count; i++) {
        double row = ids.numbers[i];
        if (!(row >= 0 && row < (double)V && row == floor(row)))
            return call_refuse(c, "an id is no row of the table");
        id[i] = (int32_t)row;
    }
    real_t *out = room(c, ids.count * C);
    embedding(out, id, weight.x, ids.count, V, C);
    shape_t shape = ids.shape;
    shape.dim[shape.ndim++] = C;
    return show(c, out, shape, LAYOUT_TORCH);
}

static int call_timestep_embedding(const call_t *c) {
    input_t t;
    int64_t dim;
    double shift, period;
    bool flip;
    const char *angles;
    if (call_take(c, "timesteps", 1, 1, &t) ||
        json_get_int(c->attrs, "dim", 1, 1 << 20, &dim, c->err) ||
        json_get_bool(c->attrs, "flip_sin_to_cos", &flip, c->err) ||
        json_get_double(c->attrs, "freq_shift", &shift, c->err) ||
        json_get_double(c->attrs, "max_period", &period, c->err) ||
        json_get_string(c->attrs, "angles", &angles, c->err))
        return -1;
    if (strcmp(angles, "f32") != 0 && strcmp(angles, "f64") != 0)
        return json_node_error(c->attrs, "angles", c->err,
                               "expected \"f32\" or \"f64\", found "
                               "\"%s\"",
                               angles);
    if (!(period > 0) || (double)(dim / 2) == shift)
        return call_refuse(c, "max_period or freq_shift make no frequencies");
    real_t *out = room(c, t.count * (size_t)dim);
    timestep_embedding(out, t.numbers, t.count, (size_t)dim, flip, shift, period,
                       strcmp(angles, "f32") == 0 ? ANGLES_F32 : ANGLES_EXACT);
    return show(c, out, SHAPE2(t.count, dim), LAYOUT_TORCH);
}

static int call_upsample_nearest(const call_t *c) {
    input_t x;
    int64_t size[2];
    size_t two;
    if (call_take(c, "x", 4, 4, &x) ||
        json_get_ints(c->attrs, "size", 1, 1 << 14, 2, 2, size, &two, c->err))
        return -1;
    size_t B = x.shape.dim[0], C = x.shape.dim[1], Ho = (size_t)size[0], Wo = (size_t)size[1];
    real_t *out = room(c, B * C * Ho * Wo);
    upsample_nearest(out, channels_last(c, &x), B, C, x.shape.dim[2], x.shape.dim[3], Ho, Wo);
    return show(c, out, SHAPE4(B, C, Ho, Wo), LAYOUT_CHANNELS_LAST);
}

/* A list of any length: joined from the left. */
static int call_concat(const call_t *c) {
    const json_t *list = json_object_get(c->inputs.value, "x");
    input_t sofar = {0};
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        input_t next;
        if (!name) return json_node_error(c->inputs, "x", c->err, "expected a list of keys");
        if (call_read(c, c->inputs, "x", name, &next)) return -1;
        if (next.shape.ndim < 2) return call_refuse(c, "an input has no channels");
        real_t *x = channels_last(c, &next);
        if (i > 0) {
            shape_t expected = next.shape;
            expected.dim[1] = sofar.shape.dim[1];
            if (!shape_equal(expected, sofar.shape))
                return call_refuse(c, "inputs of unlike shape");
            size_t M = next.shape.dim[0] * pixels(&next), more = next.shape.dim[1];
            real_t *out = room(c, sofar.count + next.count);
            concat(out, sofar.x, x, M, sofar.shape.dim[1], more);
            next.shape.dim[1] += sofar.shape.dim[1];
            next.count += sofar.count;
            x = out;
        }
        sofar = next;
        sofar.x = x;
    }
    if (!sofar.x) return json_node_error(c->inputs, "x", c->err, "expected a list of keys");
    return show(c, sofar.x, sofar.shape, LAYOUT_CHANNELS_LAST);
}

/* ---- the MoLE layer ---------------------------------------------------------------------------------- */

/* Names become parts of tap names, which have an end. */
static int check_name(const call_t *c, const char *name) {
    return strlen(name) <= GOLDEN_NAME_MOST ? 0 : call_refuse(c, "a name is too long");
}

static int take_factor(const call_t *c, json_node_t expert, const char *key, size_t count,
                       input_t *in) {
    const char *name;
    if (json_get_string(expert, key, &name, c->err) || call_read(c, expert, key, name, in))
        return -1;
    if (count == 0 || in->count == count) return 0;
    return json_node_error(expert, key, c->err, "expected %zu numbers, found %zu", count,
                           in->count);
}

static int take_expert(const call_t *c, size_t index, const mole_layer_t *layer,
                       mole_expert_t *expert) {
    json_node_t node;
    input_t down, up, w, bias;
    double alpha;
    if (json_get_item(c->call, "experts", index, &node, c->err) ||
        json_get_string(node, "name", &expert->name, c->err) || check_name(c, expert->name) ||
        json_get_double(node, "alpha", &alpha, c->err) ||
        take_factor(c, node, "lora_down", 0, &down))
        return -1;
    size_t rank = down.shape.dim[0];
    if (down.count != rank * layer->d_in) return call_refuse(c, "lora_down does not fit x");
    if (take_factor(c, node, "lora_up", layer->d_out * rank, &up) ||
        take_factor(c, node, "scale_weight", layer->d_out, &w) ||
        take_factor(c, node, "scale_bias", 1, &bias))
        return -1;
    *expert = (mole_expert_t){expert->name, rank, alpha / (double)rank, down.x,
                              up.x,         w.x,  (double)*bias.x};
    return 0;
}

static int call_mole(const call_t *c) {
    input_t x, weight, bias, phi, phi_bias;
    size_t experts;
    if (call_take(c, "x", 3, 4, &x) || call_take(c, "weight", 2, 4, &weight) ||
        json_get_length(c->call, "experts", &experts, c->err))
        return -1;
    bool image = x.shape.ndim == 4;
    size_t B = x.shape.dim[0], T = image ? pixels(&x) : x.shape.dim[1];
    mole_layer_t layer = {.d_in = image ? x.shape.dim[1] : last(&x),
                          .d_out = weight.shape.dim[0],
                          .experts = experts};
    if (weight.count != layer.d_in * layer.d_out || experts == 0)
        return call_refuse(c, "weight does not fit x, or there is no expert");
    if (call_take_shape(c, "bias", true, SHAPE1(layer.d_out), &bias) ||
        call_take(c, "gate.Phi.weight", 2, 2, &phi) ||
        call_take_shape(c, "gate.Phi.bias", false, SHAPE1(experts), &phi_bias))
        return -1;
    if (phi.count != experts * layer.d_in) return call_refuse(c, "Phi does not fit x and experts");
    layer.local_weight = phi.x;
    layer.local_bias = phi_bias.x;
    layer.expert = arena_bytes(c->run->arena, experts * sizeof *layer.expert);
    for (size_t i = 0; i < experts; i++)
        if (take_expert(c, i, &layer, &layer.expert[i])) return -1;
    pool_t pool = {0};
    mole_layer_prepare(&layer, &pool);
    real_t *out = room(c, B * T * layer.d_out);
    view_t view = image ? VIEW_IMAGE(B, layer.d_out, x.shape.dim[2], x.shape.dim[3])
                        : VIEW_TOKENS(B, T, layer.d_out);
    mole_forward(c->run, &layer, c->id, view, out, image ? channels_last(c, &x) : x.x, weight.x,
                 bias.x, B, T);
    pool_free(&pool);
    return show(c, out, view.shape, view.layout);
}

/* ---- the table --------------------------------------------------------------------------------------- */

/* An operation, the keys of its attrs and of its inputs. */
typedef struct {
    const char *op;
    int (*call)(const call_t *c);
    const char *attrs, *inputs;
} operation_t;

static const operation_t table[] = {
    {"attention", call_attention, "heads scale causal", "q k v"},
    {"concat", call_concat, "", "x"},
    {"conv2d", call_conv2d, "stride padding", "x weight bias"},
    {"embedding", call_embedding, "", "ids weight"},
    {"geglu", call_geglu, "", "x"},
    {"gelu", call_gelu, "", "x"},
    {"group_norm", call_group_norm, "groups eps", "x weight bias"},
    {"layer_norm", call_layer_norm, "eps", "x weight bias"},
    {"linear", call_linear, "", "x weight bias"},
    {"matmul", call_matmul, "transpose_b", "a b"},
    {"mole", call_mole, "", "x weight bias gate.Phi.weight gate.Phi.bias"},
    {"quick_gelu", call_quick_gelu, "", "x"},
    {"sigmoid", call_sigmoid, "", "x"},
    {"silu", call_silu, "", "x"},
    {"softmax", call_softmax, "", "x"},
    {"timestep_embedding", call_timestep_embedding,
     "dim flip_sin_to_cos freq_shift max_period angles", "timesteps"},
    {"upsample_nearest", call_upsample_nearest, "size", "x"}};
enum { OPERATIONS = sizeof table / sizeof *table };

static const operation_t *operation_of(const char *op) {
    for (size_t i = 0; i < OPERATIONS; i++)
        if (strcmp(table[i].op, op) == 0) return &table[i];
    return NULL;
}

bool calls_apply(json_node_t call) {
    if (sizeof(real_t) == sizeof(float)) return true;
    const json_t *attrs = json_object_get(call.value, "attrs");
    const char *angles = json_string_value(json_object_get(attrs, "angles"));
    return !angles || strcmp(angles, "f32") != 0;
}

const char *calls_inputs(const char *op) {
    const operation_t *operation = operation_of(op);
    return operation ? operation->inputs : NULL;
}

const char *calls_at(size_t index) {
    return index < OPERATIONS ? table[index].op : NULL;
}

static bool among(const char *key, const char *keys) {
    size_t length = strlen(key);
    for (const char *at = keys; (at = strstr(at, key)); at += length)
        if (length > 0 && (at == keys || at[-1] == ' ') && (!at[length] || at[length] == ' '))
            return true;
    return false;
}

/* Every key is one that the operation takes: a misspelt one would be no mistake that anyone sees. */
static int check_keys(const call_t *c, json_node_t node, const char *keys) {
    const char *key;
    json_t *value;
    json_object_foreach(node.value, key, value) {
        if (!among(key, keys))
            return json_node_error(node, key, c->err, "%s takes %s%s", c->op,
                                   *keys ? "only: " : "none", keys);
    }
    return 0;
}

int calls_execute(const run_t *run, const call_tensors_t *tensors, json_node_t call, err_t *err) {
    call_t c = {.run = run, .tensors = tensors, .call = call, .err = err};
    if (json_get_string(c.call, "id", &c.id, err) || json_get_string(c.call, "op", &c.op, err) ||
        json_get_object(c.call, "attrs", &c.attrs, err) ||
        json_get_object(c.call, "inputs", &c.inputs, err))
        return -1;
    if (!calls_apply(c.call)) return 0;
    const operation_t *operation = operation_of(c.op);
    if (!operation)
        return json_node_error(c.call, "op", err,
                               "no operation '%s' that a case of kind calls can name", c.op);
    if (check_keys(&c, c.attrs, operation->attrs) || check_keys(&c, c.inputs, operation->inputs))
        return -1;
    return operation->call(&c);
}
