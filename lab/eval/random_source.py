"""The random numbers of packages/eval/src/statistics/random.ts, bit for bit.

xoshiro128** 1.1 by Blackman and Vigna (prng.di.unimi.it), seeded by two steps of SplitMix64, low word first.
"""

MASK32 = 0xFFFFFFFF
MASK64 = 0xFFFFFFFFFFFFFFFF


def _rotate_left(word: int, by: int) -> int:
    return ((word << by) | (word >> (32 - by))) & MASK32


class RandomSource:
    def __init__(self, seed: int) -> None:
        counter = seed & MASK64
        words: list[int] = []
        while len(words) < 4:
            counter = (counter + 0x9E3779B97F4A7C15) & MASK64
            mixed = counter
            mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
            mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & MASK64
            mixed ^= mixed >> 31
            words += [mixed & MASK32, mixed >> 32]
        self.state = words

    def next_uint32(self) -> int:
        s0, s1, s2, s3 = self.state
        scrambled = (_rotate_left((s1 * 5) & MASK32, 7) * 9) & MASK32
        shifted = (s1 << 9) & MASK32
        s2 ^= s0
        s3 ^= s1
        s1 ^= s2
        s0 ^= s3
        s2 ^= shifted
        self.state = [s0, s1, s2, _rotate_left(s3, 11)]
        return scrambled

    def below(self, limit: int) -> int:
        """An integer of 0 to limit - 1, unbiased."""
        usable = 2**32 - 2**32 % limit
        drawn = self.next_uint32()
        while drawn >= usable:
            drawn = self.next_uint32()
        return drawn % limit

    def uniform(self) -> float:
        high = self.next_uint32() >> 5
        return (high * 2**26 + (self.next_uint32() >> 6)) / 2**53
