// Products of packed activations with a tile of int8 weights. Three versions: AVX-512 with VNNI,
// AVX2, and plain C++. Which one it is also decides how four activations lie in 8 bytes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "vectors.h"

#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#define INT8_VNNI 1
#elif defined(__AVX2__)
#include <immintrin.h>
#define INT8_AVX2 1
#endif

namespace native {

constexpr long GROUP = 64;  // inputs that share a scale; quantise.py has the same number
constexpr long TILE = 32;   // outputs side by side in memory; int8_linear.py has the same number
constexpr long QUADS = GROUP / 4;

struct Int8Weight {
  const uint8_t* values;  // [tiles][inputs / 4][TILE][4], each plus 128
  const bf16* scales;     // [tiles][groups][TILE]
  const float* factors;   // [groups * GROUP], or null for ones
  const float* bias;      // [tiles * TILE], or null for zeros
  int64_t outputs, inputs, groups;

  long tiles() const { return (outputs + TILE - 1) / TILE; }
  const uint8_t* tile_values(long tile) const { return values + tile * groups * GROUP * TILE; }
  const bf16* tile_scales(long tile) const { return scales + tile * groups * TILE; }
};

// A block of activations, as whole numbers of 16 bits over the step of their row and group: quads
// [inputs / 4][rows][8], steps and surplus [groups][rows]. The surplus is what weights that are 128
// too large make of the group, negated.
struct Int8Rows {
  int8_t* quads;
  float* steps;
  int32_t* surplus;
  int rows;
};

typedef int8_t i8x16 __attribute__((vector_size(16)));
typedef int16_t i16x16 __attribute__((vector_size(32)));

// Sixteen numbers of a row, whose four quads lie `stride` bytes apart.
NATIVE_INLINE void put_quads(int8_t* to, long stride, i32x16 whole) {
#ifdef INT8_VNNI
  // Four high bytes, then four low ones, which are signed too.
  const i32x16 high = (whole + 128) >> 8;
  const i8x16 planes[2] = {__builtin_convertvector(high, i8x16),
                           __builtin_convertvector(whole - high * 256, i8x16)};
  const char* from = reinterpret_cast<const char*>(planes);
  for (long quad = 0; quad < LANES / 4; quad++) {
    std::memcpy(to + quad * stride, from + quad * 4, 4);
    std::memcpy(to + quad * stride + 4, from + 16 + quad * 4, 4);
  }
#else
  const i16x16 numbers = __builtin_convertvector(whole, i16x16);
  const char* from = reinterpret_cast<const char*>(&numbers);
  for (long quad = 0; quad < LANES / 4; quad++) std::memcpy(to + quad * stride, from + quad * 8, 8);
#endif
}

#ifdef INT8_VNNI

NATIVE_INLINE __m512i repeat_four(const int8_t* from) {
  int32_t four;
  std::memcpy(&four, from, 4);
  return _mm512_set1_epi32(four);
}

// The products of a block of rows with one tile: [ROWS][TILE]. While they are made, the values that
// lie `ahead` bytes further on come nearer.
template <int ROWS>
void multiply(const Int8Weight& w, const Int8Rows& x, long tile, long ahead, float* out) {
  std::fill(out, out + ROWS * TILE, 0.0f);  // in memory: the registers are for the whole numbers
  const uint8_t* values = w.tile_values(tile);
  const bf16* scales = w.tile_scales(tile);
  const int8_t* quads = x.quads;
  for (long group = 0; group < w.groups; group++) {
    __m512i high[ROWS][2], low[ROWS][2];
    for (int r = 0; r < ROWS; r++) {
      high[r][0] = high[r][1] = _mm512_setzero_si512();
      low[r][0] = low[r][1] = _mm512_set1_epi32(x.surplus[group * ROWS + r]);
    }
    for (long quad = 0; quad < QUADS; quad++) {
      const __m512i first = _mm512_loadu_si512(values);
      const __m512i second = _mm512_loadu_si512(values + 64);
      _mm_prefetch(reinterpret_cast<const char*>(values + ahead), _MM_HINT_T0);
      _mm_prefetch(reinterpret_cast<const char*>(values + ahead + 64), _MM_HINT_T0);
      for (int r = 0; r < ROWS; r++) {
        const __m512i high_four = repeat_four(quads + r * 8);
        const __m512i low_four = repeat_four(quads + r * 8 + 4);
        high[r][0] = _mm512_dpbusd_epi32(high[r][0], first, high_four);
        high[r][1] = _mm512_dpbusd_epi32(high[r][1], second, high_four);
        low[r][0] = _mm512_dpbusd_epi32(low[r][0], first, low_four);
        low[r][1] = _mm512_dpbusd_epi32(low[r][1], second, low_four);
        // Without it GCC 12 gives each sum a second place, in memory: half the speed.
        asm("" : "+v"(high[r][0]), "+v"(high[r][1]), "+v"(low[r][0]), "+v"(low[r][1]));
      }
      values += 4 * TILE;
      quads += 8 * ROWS;
    }
    for (int half = 0; half < 2; half++) {
      const f32x16 scale = load(scales + group * TILE + half * LANES);
      for (int r = 0; r < ROWS; r++) {
        const __m512i whole = _mm512_add_epi32(_mm512_slli_epi32(high[r][half], 8), low[r][half]);
        const f32x16 step = scale * x.steps[group * ROWS + r];
        float* sum = out + r * TILE + half * LANES;
        store(sum, load(sum) + (f32x16)_mm512_cvtepi32_ps(whole) * step);
      }
    }
  }
}

#elif defined(INT8_AVX2)

// Eight outputs at a time: pairs of products are summed by the processor, in 32 bits.
template <int ROWS>
void multiply(const Int8Weight& w, const Int8Rows& x, long tile, long ahead, float* out) {
  constexpr long PART = 8;
  std::fill(out, out + ROWS * TILE, 0.0f);
  const bf16* scales = w.tile_scales(tile);
  for (long group = 0; group < w.groups; group++) {
    for (long part = 0; part < TILE; part += PART) {
      const uint8_t* values = w.tile_values(tile) + group * GROUP * TILE + part * 4;
      const int8_t* quads = x.quads + group * QUADS * ROWS * 8;
      __m256i sums[ROWS][2] = {};
      for (long quad = 0; quad < QUADS; quad++) {
        const __m128i* from = reinterpret_cast<const __m128i*>(values);
        const __m256i first = _mm256_cvtepu8_epi16(_mm_loadu_si128(from));
        const __m256i second = _mm256_cvtepu8_epi16(_mm_loadu_si128(from + 1));
        _mm_prefetch(reinterpret_cast<const char*>(values + ahead), _MM_HINT_T0);
        for (int r = 0; r < ROWS; r++) {
          int64_t four;
          std::memcpy(&four, quads + r * 8, 8);
          const __m256i numbers = _mm256_set1_epi64x(four);
          sums[r][0] = _mm256_add_epi32(sums[r][0], _mm256_madd_epi16(first, numbers));
          sums[r][1] = _mm256_add_epi32(sums[r][1], _mm256_madd_epi16(second, numbers));
          asm("" : "+x"(sums[r][0]), "+x"(sums[r][1]));  // see above
        }
        values += TILE * 4;
        quads += 8 * ROWS;
      }
      for (int r = 0; r < ROWS; r++) {
        const __m256i pairs = _mm256_hadd_epi32(sums[r][0], sums[r][1]);
        alignas(32) int32_t whole[PART];
        _mm256_store_si256(reinterpret_cast<__m256i*>(whole),
                           _mm256_permute4x64_epi64(pairs, 0b11011000));
        for (long o = 0; o < PART; o++) {
          const float step = to_float(scales[group * TILE + part + o]) * x.steps[group * ROWS + r];
          out[r * TILE + part + o] += float(whole[o] + x.surplus[group * ROWS + r]) * step;
        }
      }
    }
  }
}

#else

template <int ROWS>
void multiply(const Int8Weight& w, const Int8Rows& x, long tile, long, float* out) {
  std::fill(out, out + ROWS * TILE, 0.0f);
  const bf16* scales = w.tile_scales(tile);
  for (long group = 0; group < w.groups; group++) {
    for (int r = 0; r < ROWS; r++) {
      int32_t sums[TILE];
      std::fill(sums, sums + TILE, x.surplus[group * ROWS + r]);
      for (long quad = group * QUADS; quad < (group + 1) * QUADS; quad++) {
        const uint8_t* values = w.tile_values(tile) + quad * TILE * 4;
        int16_t numbers[4];
        std::memcpy(numbers, x.quads + (quad * ROWS + r) * 8, 8);
        for (long o = 0; o < TILE; o++) {
          for (long i = 0; i < 4; i++) sums[o] += values[o * 4 + i] * numbers[i];
        }
      }
      for (long o = 0; o < TILE; o++) {
        const float step = to_float(scales[group * TILE + o]) * x.steps[group * ROWS + r];
        out[r * TILE + o] += float(sums[o]) * step;
      }
    }
  }
}

#endif

}  // namespace native
