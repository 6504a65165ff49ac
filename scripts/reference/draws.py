"""The random numbers of src/core/rng.ts, so that both sides draw the same inputs and inputs need not be stored."""
MASK = 0xFFFFFFFF


def pcg4d(seed, stream, step, element):
    """Jarzynski and Olano, JCGT 9(3), 2020: four words in, four words out."""
    x, y, z, w = ((word * 1664525 + 1013904223) & MASK for word in (seed, stream, step, element))

    def mix(x, y, z, w):
        x = (x + y * w) & MASK
        y = (y + z * x) & MASK
        z = (z + x * y) & MASK
        w = (w + y * z) & MASK
        return x, y, z, w

    x, y, z, w = (word ^ (word >> 16) for word in mix(x, y, z, w))
    return mix(x, y, z, w)


class Counter:
    """The i-th draw is a function of (seed, stream, step, i) alone."""

    def __init__(self, seed, stream, step=0):
        self.key, self.element = (seed, stream, step), 0

    def uniform(self):
        """In [0, 1), with 24 bits: exact in float32."""
        word = pcg4d(*self.key, self.element)[0]
        self.element += 1
        return (word >> 8) / 16777216

    def below(self, n):
        return int(self.uniform() * n)

    def between(self, low, high):
        return low + (high - low) * self.uniform()

    def choice(self, values):
        return values[self.below(len(values))]

    def whole(self, low, high):
        """A whole number from low to high, both included."""
        return low + self.below(high - low + 1)

    def scale(self, low, high):
        """Log-uniform between low and high."""
        return low * (high / low) ** self.uniform()
