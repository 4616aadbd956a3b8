// Copies, fills and compares memory on x86-64. What is loaded is loaded before anything is stored that could change it, so
// a copy may overlap its source. A length that no number of registers fits is covered by two that overlap.

#include <stddef.h>
#include <stdint.h>

// Any bytes at any address.
typedef uint16_t u16 __attribute__((may_alias, aligned(1)));
typedef uint32_t u32 __attribute__((may_alias, aligned(1)));
typedef uint64_t u64 __attribute__((may_alias, aligned(1)));
typedef char v16 __attribute__((vector_size(16), may_alias, aligned(1)));

#define AT(type, address) (*(type *)(address))
#define FROM(type, address) (*(const type *)(address))

// From here on `rep` is as fast as a loop, on old processors too.
#define REP_BYTES 2048

void *memmove(void *to, const void *from, size_t length)
{
    char *d = to, *d_end = d + length;
    const char *s = from, *s_end = s + length;
    if (length <= 16) {
        if (length >= 8) {
            uint64_t first = FROM(u64, s), last = FROM(u64, s_end - 8);
            AT(u64, d) = first;
            AT(u64, d_end - 8) = last;
        } else if (length >= 4) {
            uint32_t first = FROM(u32, s), last = FROM(u32, s_end - 4);
            AT(u32, d) = first;
            AT(u32, d_end - 4) = last;
        } else if (length >= 2) {
            uint16_t first = FROM(u16, s), last = FROM(u16, s_end - 2);
            AT(u16, d) = first;
            AT(u16, d_end - 2) = last;
        } else if (length == 1) {
            *d = *s;
        }
        return to;
    }
    v16 a = FROM(v16, s), z = FROM(v16, s_end - 16);
    if (length <= 32) {
        AT(v16, d) = a;
        AT(v16, d_end - 16) = z;
        return to;
    }
    v16 b = FROM(v16, s + 16), y = FROM(v16, s_end - 32);
    if (length <= 64) {
        AT(v16, d) = a;
        AT(v16, d + 16) = b;
        AT(v16, d_end - 32) = y;
        AT(v16, d_end - 16) = z;
        return to;
    }
    uintptr_t ahead = (uintptr_t)d - (uintptr_t)s;
    if (length >= REP_BYTES && ahead >= length && -ahead >= length) {
        // They do not overlap. The ends are in registers, and between them the destination is aligned.
        size_t skipped = 16 - ((uintptr_t)d & 15);
        void *next = d + skipped;
        const void *next_from = s + skipped;
        size_t words = (length - skipped) / 8;
        AT(v16, d) = a;
        __asm__ volatile("rep movsq" : "+D"(next), "+S"(next_from), "+c"(words) : : "memory");
        AT(v16, d_end - 16) = z;
        return to;
    }
    // The first and the last 64 bytes are in registers, and are stored last.
    v16 c = FROM(v16, s + 32), e = FROM(v16, s + 48), w = FROM(v16, s_end - 64), x = FROM(v16, s_end - 48);
    if (length > 128) {
        if (ahead >= length) {
            // Forwards: the destination begins before the source, or behind its end.
            for (size_t at = 64; at < length - 64; at += 64) {
                v16 i = FROM(v16, s + at), j = FROM(v16, s + at + 16);
                v16 k = FROM(v16, s + at + 32), l = FROM(v16, s + at + 48);
                AT(v16, d + at) = i;
                AT(v16, d + at + 16) = j;
                AT(v16, d + at + 32) = k;
                AT(v16, d + at + 48) = l;
            }
        } else {
            // Backwards: the destination begins within the source.
            for (size_t end = length - 64; end > 64; end -= 64) {
                v16 i = FROM(v16, s + end - 64), j = FROM(v16, s + end - 48);
                v16 k = FROM(v16, s + end - 32), l = FROM(v16, s + end - 16);
                AT(v16, d + end - 64) = i;
                AT(v16, d + end - 48) = j;
                AT(v16, d + end - 32) = k;
                AT(v16, d + end - 16) = l;
            }
        }
    }
    AT(v16, d) = a;
    AT(v16, d + 16) = b;
    AT(v16, d + 32) = c;
    AT(v16, d + 48) = e;
    AT(v16, d_end - 64) = w;
    AT(v16, d_end - 48) = x;
    AT(v16, d_end - 32) = y;
    AT(v16, d_end - 16) = z;
    return to;
}

void *memcpy(void *restrict, const void *restrict, size_t) __attribute__((alias("memmove")));

void *memset(void *to, int value, size_t length)
{
    char *d = to, *d_end = d + length;
    uint64_t eight = 0x0101010101010101 * (uint64_t)(unsigned char)value;
    if (length <= 16) {
        if (length >= 8) {
            AT(u64, d) = eight;
            AT(u64, d_end - 8) = eight;
        } else if (length >= 4) {
            AT(u32, d) = (uint32_t)eight;
            AT(u32, d_end - 4) = (uint32_t)eight;
        } else if (length >= 2) {
            AT(u16, d) = (uint16_t)eight;
            AT(u16, d_end - 2) = (uint16_t)eight;
        } else if (length == 1) {
            *d = (char)eight;
        }
        return to;
    }
    v16 sixteen = (v16)(__attribute__((vector_size(16))) uint64_t){eight, eight};
    AT(v16, d) = sixteen;
    AT(v16, d_end - 16) = sixteen;
    if (length <= 32) {
        return to;
    }
    size_t skipped = 16 - ((uintptr_t)d & 15);
    if (length >= REP_BYTES) {
        void *next = d + skipped;
        size_t words = (length - skipped) / 8;
        __asm__ volatile("rep stosq" : "+D"(next), "+c"(words) : "a"(eight) : "memory");
        return to;
    }
    for (char *next = d + skipped; next < d_end - 16; next += 16) {
        AT(v16, next) = sixteen;
    }
    return to;
}

int memcmp(const void *left, const void *right, size_t length)
{
    const unsigned char *a = left, *b = right;
    if (length >= 16) {
        for (size_t at = 0;;) {
            v16 is_same = FROM(v16, a + at) == FROM(v16, b + at);
            unsigned differs = 0xffff & ~(unsigned)__builtin_ia32_pmovmskb128(is_same);
            if (differs != 0) {
                size_t first = at + (size_t)__builtin_ctz(differs);
                return a[first] - b[first];
            }
            if (at == length - 16) {
                return 0;
            }
            at = at + 32 <= length ? at + 16 : length - 16;
        }
    }
    if (length >= 8) {
        uint64_t x = __builtin_bswap64(FROM(u64, a)), y = __builtin_bswap64(FROM(u64, b));
        if (x == y) {
            x = __builtin_bswap64(FROM(u64, a + length - 8));
            y = __builtin_bswap64(FROM(u64, b + length - 8));
        }
        return (x > y) - (x < y);
    }
    if (length >= 4) {
        uint32_t x = __builtin_bswap32(FROM(u32, a)), y = __builtin_bswap32(FROM(u32, b));
        if (x == y) {
            x = __builtin_bswap32(FROM(u32, a + length - 4));
            y = __builtin_bswap32(FROM(u32, b + length - 4));
        }
        return (x > y) - (x < y);
    }
    for (size_t at = 0; at < length; at++) {
        if (a[at] != b[at]) {
            return a[at] - b[at];
        }
    }
    return 0;
}

int bcmp(const void *, const void *, size_t) __attribute__((alias("memcmp")));
