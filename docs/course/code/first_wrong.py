"""Chapter 11: the first tap of a port that is too far from the truth. truth, port: name -> tensor, in order."""


def first_wrong(truth, port, limit):
    for name, true in truth.items():
        if name not in port:
            continue
        error = abs(port[name] - true).max() / abs(true).max()
        if not error <= limit:
            return name
    return None
