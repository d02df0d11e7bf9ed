// Sixteen floats at a time on three kinds of processors: AVX512 with bfloat16 products, AVX512, AVX2. Compiled ahead of
// the kernels that are written in these words; what the compiler may use decides.
//
// Every lane's arithmetic is the same on all of them, and so is the order of a sum over lanes. The large products alone
// differ: their numbers are "packed", two bfloat16 to a lane where there are instructions for it, else one float.
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

namespace {

constexpr int LANES = 16;

#if defined(__AVX512F__)

constexpr bool NARROW = false;  // few registers: fewer sums at a time
typedef __m512 Vec;
typedef __mmask16 Mask;

inline Vec zero() { return _mm512_setzero_ps(); }
inline Vec all(float x) { return _mm512_set1_ps(x); }
inline Vec load(const float *from) { return _mm512_loadu_ps(from); }
inline Vec load(Mask which, const float *from) { return _mm512_maskz_loadu_ps(which, from); }
inline void store(float *to, Vec v) { _mm512_storeu_ps(to, v); }
inline Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }    // a b + c
inline Vec fnma(Vec a, Vec b, Vec c) { return _mm512_fnmadd_ps(a, b, c); }  // c - a b
inline Vec plus(Vec a, Vec b) { return _mm512_add_ps(a, b); }
inline Vec minus(Vec a, Vec b) { return _mm512_sub_ps(a, b); }
inline Vec times(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
inline Vec over(Vec a, Vec b) { return _mm512_div_ps(a, b); }
inline Vec larger(Vec a, Vec b) { return _mm512_max_ps(a, b); }   // b where either is NaN
inline Vec smaller(Vec a, Vec b) { return _mm512_min_ps(a, b); }  // likewise
inline Vec root(Vec a) { return _mm512_sqrt_ps(a); }
inline Vec size(Vec a) { return _mm512_abs_ps(a); }
inline float total(Vec a) { return _mm512_reduce_add_ps(a); }

inline Mask lanes(uint16_t bits) { return bits; }
inline Mask above(Vec a, Vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
inline Mask both(Mask a, Mask b) { return a & b; }
inline Vec only(Mask which, Vec v) { return _mm512_maskz_mov_ps(which, v); }
inline int count(Mask a) { return __builtin_popcount(a); }

#elif defined(__AVX2__) && defined(__FMA__)

constexpr bool NARROW = true;
struct Vec {
    __m256 a, b;
};
typedef Vec Mask;  // all bits of a lane, or none

inline Vec zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
inline Vec all(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline Vec load(const float *from) { return {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)}; }
inline Vec load(Mask which, const float *from) {
    return {_mm256_maskload_ps(from, _mm256_castps_si256(which.a)), _mm256_maskload_ps(from + 8, _mm256_castps_si256(which.b))};
}
inline void store(float *to, Vec v) {
    _mm256_storeu_ps(to, v.a);
    _mm256_storeu_ps(to + 8, v.b);
}
inline Vec fma(Vec x, Vec y, Vec z) { return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)}; }
inline Vec fnma(Vec x, Vec y, Vec z) { return {_mm256_fnmadd_ps(x.a, y.a, z.a), _mm256_fnmadd_ps(x.b, y.b, z.b)}; }
inline Vec plus(Vec x, Vec y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
inline Vec minus(Vec x, Vec y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
inline Vec times(Vec x, Vec y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
inline Vec over(Vec x, Vec y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
inline Vec larger(Vec x, Vec y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
inline Vec smaller(Vec x, Vec y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
inline Vec root(Vec x) { return {_mm256_sqrt_ps(x.a), _mm256_sqrt_ps(x.b)}; }
inline Vec size(Vec x) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return {_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
}
inline float total(Vec x) {
    const __m256 eight = _mm256_add_ps(x.a, x.b);
    const __m128 four = _mm_add_ps(_mm256_extractf128_ps(eight, 1), _mm256_castps256_ps128(eight));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return two[0] + two[1];
}

inline Mask lanes(uint16_t bits) {
    const __m256i first = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128), second = _mm256_slli_epi32(first, 8);
    const __m256i x = _mm256_set1_epi32(bits);
    return {_mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(x, first), first)),
            _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(x, second), second))};
}
inline Mask above(Vec x, Vec y) { return {_mm256_cmp_ps(x.a, y.a, _CMP_GT_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_GT_OQ)}; }
inline Mask both(Mask x, Mask y) { return {_mm256_and_ps(x.a, y.a), _mm256_and_ps(x.b, y.b)}; }
inline Vec only(Mask which, Vec v) { return both(which, v); }
inline int count(Mask x) { return __builtin_popcount(_mm256_movemask_ps(x.a)) + __builtin_popcount(_mm256_movemask_ps(x.b)); }

#else
#error "this processor has no AVX2"
#endif

inline Mask first_lanes(int n) { return lanes(n < LANES ? (1u << n) - 1 : 0xFFFF); }

#if defined(__AVX512BF16__) && defined(__AVX512BW__)

#define VARIANT "avx512-bf16"
constexpr int PER_PACK = 2;
typedef uint32_t Packed;
typedef __m512bh Pack;

inline Pack load_pack(const Packed *from) { return (Pack)_mm512_load_si512(from); }
inline Pack all_packs(Packed x) { return (Pack)_mm512_set1_epi32(x); }
inline Vec fma_packs(Pack a, Pack b, Vec c) { return _mm512_dpbf16_ps(c, a, b); }
// Lane by lane a pair of bfloat16, the first in the lower half.
inline void store_pack(Packed *to, const Vec *v) {
    const __m512i weave = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5,
                                           20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    _mm512_store_si512(to, _mm512_permutexvar_epi16(weave, (__m512i)_mm512_cvtne2ps_pbh(v[1], v[0])));
}

#else

#if defined(__AVX512F__)
#define VARIANT "avx512"
#else
#define VARIANT "avx2"
#endif
constexpr int PER_PACK = 1;
typedef float Packed;
typedef Vec Pack;

inline Pack load_pack(const Packed *from) { return load(from); }
inline Pack all_packs(Packed x) { return all(x); }
inline Vec fma_packs(Pack a, Pack b, Vec c) { return fma(a, b, c); }
inline void store_pack(Packed *to, const Vec *v) { store(to, *v); }

#endif

}  // namespace

extern "C" const char *variant() { return VARIANT; }
