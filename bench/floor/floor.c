// How many multiply-adds a thread of this processor does in a second of its time, in loops that touch registers alone:
// nothing that computes a model's products on the processor can be faster. Each kind of numbers is tried with every
// instruction that the processor has for it; what it lacks is not tried. Prints a JSON object a line.
//
//   cc -O2 floor.c -o floor && ./floor
//
// x86-64 alone. A kernel is told to the compiler by its own target, so that one program holds all of them.

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#if !defined(__x86_64__)
int main(void) {
    puts("{\"missing\": \"the loops are written for x86-64\"}");
    return 0;
}
#else

#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

// Seconds of a measurement: of the thread's own time, which other programs lengthen only through what they share.
static const double least = 0.1;

static double thread_time(void) {
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return time.tv_sec + 1e-9 * time.tv_nsec;
}

// The compiler must believe that a register changed, or it would take the loop for one that does nothing.
#define KEEP(value) __asm__ volatile("" : "+v"(value))
#define KEEP_OLD(value) __asm__ volatile("" : "+x"(value))

#define EACH8(what, ...) what(0, __VA_ARGS__) what(1, __VA_ARGS__) what(2, __VA_ARGS__) what(3, __VA_ARGS__) \
    what(4, __VA_ARGS__) what(5, __VA_ARGS__) what(6, __VA_ARGS__) what(7, __VA_ARGS__)
#define EACH12(what, ...) EACH8(what, __VA_ARGS__) what(8, __VA_ARGS__) what(9, __VA_ARGS__) \
    what(10, __VA_ARGS__) what(11, __VA_ARGS__)

#define START(i, type, zero) type s##i = zero;
#define STEP(i, add, keep) s##i = add(s##i); keep(s##i);
#define END(i, sums) sums[i] = s##i;

// A kernel runs `times` turns of its loop and returns something of every register: `each` of sums, to which `add` adds.
#define KERNEL(name, features, factors, type, zero, each, add, keep) \
    __attribute__((target(features))) static int name(long times) {  \
        factors                                                      \
        each(START, type, zero)                                      \
        while (times--) { each(STEP, add, keep) }                    \
        type sums[12];                                               \
        each(END, sums)                                              \
        int bits;                                                    \
        memcpy(&bits, sums, sizeof bits);                            \
        return bits;                                                 \
    }

// Two factors that the compiler does not know.
#define FACTORS(type, first, second, keep) \
    type a = first, b = second;            \
    keep(a);                               \
    keep(b);

#define ADD(sum) _mm256_fmadd_ps(a, b, sum)
KERNEL(fp32_avx2, "avx2,fma", FACTORS(__m256, _mm256_set1_ps(1e-3f), _mm256_set1_ps(1e-4f), KEEP_OLD), __m256,
       _mm256_setzero_ps(), EACH12, ADD, KEEP_OLD)
#undef ADD

#define ADD(sum) _mm512_fmadd_ps(a, b, sum)
KERNEL(fp32_avx512, "avx512f", FACTORS(__m512, _mm512_set1_ps(1e-3f), _mm512_set1_ps(1e-4f), KEEP), __m512,
       _mm512_setzero_ps(), EACH12, ADD, KEEP)
#undef ADD

#define ADD(sum) _mm512_dpbf16_ps(sum, a, b)
KERNEL(bf16_avx512, "avx512f,avx512bf16",
       FACTORS(__m512bh, (__m512bh) _mm512_set1_epi32(0x3a833a83), (__m512bh) _mm512_set1_epi32(0x3a833a83), KEEP),
       __m512, _mm512_setzero_ps(), EACH12, ADD, KEEP)
#undef ADD

// Before VNNI: bytes to words, words to doublewords, and a sum, three instructions for 32 multiply-adds. A product that
// the compiler knew to be the same would be taken out of the loop.
#define ADD(sum) ({                                                                         \
    KEEP_OLD(a);                                                                            \
    _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), ones)); })
KERNEL(int8_avx2, "avx2",
       FACTORS(__m256i, _mm256_set1_epi8(3), _mm256_set1_epi8(-2), KEEP_OLD) __m256i ones = _mm256_set1_epi16(1); KEEP_OLD(ones);,
       __m256i, _mm256_setzero_si256(), EACH8, ADD, KEEP_OLD)
#undef ADD

#define ADD(sum) _mm256_dpbusd_avx_epi32(sum, a, b)
KERNEL(int8_avxvnni, "avx2,avxvnni", FACTORS(__m256i, _mm256_set1_epi8(3), _mm256_set1_epi8(-2), KEEP_OLD), __m256i,
       _mm256_setzero_si256(), EACH12, ADD, KEEP_OLD)
#undef ADD

#define ADD(sum) _mm512_dpbusd_epi32(sum, a, b)
KERNEL(int8_avx512, "avx512f,avx512vnni", FACTORS(__m512i, _mm512_set1_epi8(3), _mm512_set1_epi8(-2), KEEP), __m512i,
       _mm512_setzero_si512(), EACH12, ADD, KEEP)
#undef ADD

// Tiles of 16 rows of 64 bytes: four of sums, two of each factor.
struct tiles {
    uint8_t palette, start, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} __attribute__((packed));

__attribute__((target("amx-tile"))) static void open_tiles(void) {
    struct tiles tiles = {.palette = 1};
    for (int tile = 0; tile < 8; tile++) {
        tiles.bytes[tile] = 64;
        tiles.rows[tile] = 16;
    }
    _tile_loadconfig(&tiles);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    _tile_zero(6);
    _tile_zero(7);
}

__attribute__((target("amx-tile,amx-bf16"))) static int bf16_amx(long times) {
    open_tiles();
    while (times--) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_release();
    return 0;
}

__attribute__((target("amx-tile,amx-int8"))) static int int8_amx(long times) {
    open_tiles();
    while (times--) {
        _tile_dpbusd(0, 4, 6);
        _tile_dpbusd(1, 4, 7);
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
    }
    _tile_release();
    return 0;
}

// What the processor has, and the system has opened: the registers of AVX, AVX-512 and AMX are the system's to save.

static unsigned saved;

static int has(unsigned leaf, unsigned part, int which, int bit, unsigned needs) {
    unsigned registers[4];
    if ((saved & needs) != needs) return 0;
    if (!__get_cpuid_count(leaf, part, &registers[0], &registers[1], &registers[2], &registers[3])) return 0;
    return registers[which] >> bit & 1;
}

static unsigned saved_registers(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 27 & 1)) return 0;
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static int may_use_tiles(void) {
#ifdef SYS_arch_prctl
    // ARCH_REQ_XCOMP_PERM, for the tiles' data.
    return syscall(SYS_arch_prctl, 0x1023, 18) == 0;
#else
    return 0;
#endif
}

static volatile int sink;

static void measure(const char * kind, const char * instruction, int (*kernel)(long), double each) {
    long times = 1000;
    for (;;) {
        const double start = thread_time();
        sink = kernel(times);
        const double seconds = thread_time() - start;
        if (seconds >= least) {
            printf("{\"kind\": \"%s\", \"instruction\": \"%s\", \"perSecond\": %.4g}\n", kind, instruction, times * each / seconds);
            return;
        }
        times *= seconds > least / 16 ? 2 : 8;
    }
}

int main(void) {
    enum { ebx = 1, ecx = 2, edx = 3, eax = 0 };
    const unsigned avx = 0x6, avx512 = 0xe6, amx = 0x60000;
    saved = saved_registers();
    if (has(7, 0, ebx, 5, avx) && has(1, 0, ecx, 12, avx)) measure("fp32", "AVX2 and FMA", fp32_avx2, 12 * 8);
    if (has(7, 0, ebx, 16, avx512)) measure("fp32", "AVX-512", fp32_avx512, 12 * 16);
    if (has(7, 1, eax, 5, avx512)) measure("bf16", "AVX512-BF16", bf16_avx512, 12 * 32);
    if (has(7, 0, ebx, 5, avx)) measure("int8", "AVX2 (maddubs)", int8_avx2, 8 * 32);
    if (has(7, 1, eax, 4, avx)) measure("int8", "AVX-VNNI", int8_avxvnni, 12 * 32);
    if (has(7, 0, ecx, 11, avx512)) measure("int8", "AVX512-VNNI", int8_avx512, 12 * 64);
    const int tiles = has(7, 0, edx, 24, amx) && may_use_tiles();
    if (tiles && has(7, 0, edx, 22, amx)) measure("bf16", "AMX-BF16", bf16_amx, 4. * 16 * 16 * 32);
    if (tiles && has(7, 0, edx, 25, amx)) measure("int8", "AMX-INT8", int8_amx, 4. * 16 * 16 * 64);
    return 0;
}

#endif
