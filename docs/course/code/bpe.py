"""Chapter 5: byte-pair encoding of one word; rank: a pair of pieces -> its place in merges.txt."""


def bpe(word, rank):
    pieces = list(word[:-1]) + [word[-1] + "</w>"]
    while len(pieces) > 1:
        pairs = list(zip(pieces, pieces[1:]))
        best = min(pairs, key=lambda pair: rank.get(pair, len(rank)))
        if best not in rank:
            break
        at = pairs.index(best)
        pieces[at : at + 2] = ["".join(best)]
    return pieces
