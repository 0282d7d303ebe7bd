// Sixteen float32 lanes, and bfloat16 to and from them. It knows the processor, not the model.
//
// GCC's and Clang's vector extension: one source for AVX-512, AVX2 and Neon. Intrinsics stand only
// where the extension has no word for an instruction.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#define NATIVE_INLINE static inline __attribute__((always_inline))

namespace native {

constexpr long LANES = 16;

typedef float f32x16 __attribute__((vector_size(64)));
typedef int32_t i32x16 __attribute__((vector_size(64)));
typedef uint32_t u32x16 __attribute__((vector_size(64)));
typedef uint16_t u16x16 __attribute__((vector_size(32)));

struct bf16 {
  uint16_t bits;
};

template <class To, class From>
NATIVE_INLINE To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From), "the same bits");
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}

NATIVE_INLINE f32x16 splat(float x) {
  return f32x16{x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
}

NATIVE_INLINE float to_float(float x) { return x; }
NATIVE_INLINE float to_float(bf16 x) { return bits_as<float>(uint32_t(x.bits) << 16); }

// Rounds to nearest, ties to even; not-a-number stays it.
NATIVE_INLINE void put(float* to, float x) { *to = x; }
NATIVE_INLINE void put(bf16* to, float x) {
  const uint32_t bits = bits_as<uint32_t>(x);
  const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  to->bits = uint16_t(x != x ? (bits >> 16) | 0x40 : rounded);
}

NATIVE_INLINE f32x16 load(const float* from) {
  f32x16 v;
  std::memcpy(&v, from, sizeof(v));
  return v;
}

NATIVE_INLINE f32x16 load(const bf16* from) {
  u16x16 v;
  std::memcpy(&v, from, sizeof(v));
  return bits_as<f32x16>(__builtin_convertvector(v, u32x16) << 16);
}

NATIVE_INLINE void store(float* to, f32x16 v) { std::memcpy(to, &v, sizeof(v)); }

NATIVE_INLINE void store(bf16* to, f32x16 v) {
#if defined(__AVX512BF16__)
  const __m256bh rounded = _mm512_cvtneps_pbh((__m512)v);
  std::memcpy(to, &rounded, sizeof(rounded));
#else
  const u32x16 bits = bits_as<u32x16>(v);
  const u32x16 nan = bits_as<u32x16>(v != v);
  const u32x16 rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const u16x16 kept =
      __builtin_convertvector((rounded & ~nan) | (((bits >> 16) | 0x40) & nan), u16x16);
  std::memcpy(to, &kept, sizeof(kept));
#endif
}

// Lanes of `yes` where the mask's bits are set, of `no` elsewhere.
NATIVE_INLINE f32x16 choose(i32x16 mask, f32x16 yes, f32x16 no) {
  return bits_as<f32x16>((mask & bits_as<i32x16>(yes)) | (~mask & bits_as<i32x16>(no)));
}

// A not-a-number in `b` is passed over.
NATIVE_INLINE f32x16 greater(f32x16 a, f32x16 b) {
#if defined(__AVX512F__)
  return (f32x16)_mm512_max_ps((__m512)b, (__m512)a);
#else
  return choose(b > a, b, a);
#endif
}

NATIVE_INLINE float sum(f32x16 v) {
#if defined(__AVX512F__)
  return _mm512_reduce_add_ps((__m512)v);
#else
  float total = 0;
  for (long i = 0; i < LANES; i++) total += v[i];
  return total;
#endif
}

NATIVE_INLINE float greatest(f32x16 v) {
#if defined(__AVX512F__)
  return _mm512_reduce_max_ps((__m512)v);
#else
  float best = v[0];
  for (long i = 1; i < LANES; i++) best = v[i] > best ? v[i] : best;
  return best;
#endif
}

// Bit i is set where lane i is at least `bar`.
NATIVE_INLINE uint32_t lanes_reaching(f32x16 v, float bar) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask((__m512)v, _mm512_set1_ps(bar), _CMP_GE_OQ);
#else
  uint32_t bits = 0;
  for (long i = 0; i < LANES; i++) bits |= uint32_t(v[i] >= bar) << i;
  return bits;
#endif
}

// Lane i is table[index[i] % 16].
NATIVE_INLINE f32x16 look_up(const float* table, u32x16 index) {
#if defined(__AVX512F__)
  return (f32x16)_mm512_permutexvar_ps((__m512i)index, (__m512)load(table));
#else
  f32x16 found;
  for (long i = 0; i < LANES; i++) found[i] = table[index[i] & 15];
  return found;
#endif
}

// e^x within 2 units in the last place; what underflows is 0, not-a-number stays it.
//
// x = n ln 2 + r, with ln 2 in two parts so that r is exact; e^r is 1 + r + r^2 p(r), p fitted
// over |r| <= ln 2 / 2 (Cephes, expf).
NATIVE_INLINE f32x16 exponential(f32x16 x) {
#if defined(__AVX512F__)
  constexpr float GREATEST = 1e4f;  // far past overflow and underflow, which scalef takes care of
  // The order of the operands keeps a not-a-number.
  x = (f32x16)_mm512_max_ps(_mm512_set1_ps(-GREATEST), (__m512)x);
  x = (f32x16)_mm512_min_ps(_mm512_set1_ps(GREATEST), (__m512)x);
#else
  constexpr float LEAST = -87.3f, GREATEST = 88.3f;
  const i32x16 vanishes = x < LEAST;
  x = choose(x > GREATEST, splat(GREATEST), choose(vanishes, splat(LEAST), x));
#endif
  constexpr float ROUNDER = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
  const f32x16 n = (x * 1.44269504088896341f + ROUNDER) - ROUNDER;
  const f32x16 r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  f32x16 p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
#if defined(__AVX512F__)
  return (f32x16)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
  // A product, not a sum of exponents: it keeps a not-a-number.
  const f32x16 power = bits_as<f32x16>((__builtin_convertvector(n, i32x16) + 127) << 23);
  return bits_as<f32x16>(bits_as<i32x16>(p * power) & ~vanishes);
#endif
}

// One bit a number, lowest first: set where its sign bit is.
NATIVE_INLINE uint32_t sign_bits(const float* from) {
#if defined(__AVX512DQ__)
  return _mm512_movepi32_mask(_mm512_loadu_si512(from));
#else
  uint32_t bits = 0;
  for (long i = 0; i < LANES; i++) bits |= (bits_as<uint32_t>(from[i]) >> 31) << i;
  return bits;
#endif
}

NATIVE_INLINE uint32_t sign_bits(const bf16* from) {
#if defined(__AVX512BW__) && defined(__AVX512VL__)
  return _mm256_movepi16_mask(_mm256_loadu_si256((const __m256i*)from));
#else
  uint32_t bits = 0;
  for (long i = 0; i < LANES; i++) bits |= uint32_t(from[i].bits >> 15) << i;
  return bits;
#endif
}

NATIVE_INLINE bool is_negative(float x) { return bits_as<uint32_t>(x) >> 31; }
NATIVE_INLINE bool is_negative(bf16 x) { return x.bits >> 15; }

}  // namespace native
