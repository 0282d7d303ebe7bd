// Products of rows of bfloat16 with a tile of bfloat16 weights, summed in float32.
//
// A word is two inputs that lie side by side. One instruction multiplies both with those of sixteen
// outputs where the processor has it; plain C++ is right, and slow, elsewhere.
#pragma once

#include <cstdint>

#include "vectors.h"

// GCC keeps an array in registers only if the loops over it are gone early.
#define BF16_UNROLLED _Pragma("GCC unroll 8")

namespace native {

constexpr long BF16_TILE = 64;  // outputs side by side in memory; bf16_linear.py has it too
constexpr long BF16_VECTORS = BF16_TILE / LANES;
constexpr long BF16_BLOCK = 6;  // rows whose sums, with a row of weights, fill the registers

struct Bf16Weight {
  const uint32_t* words;  // [tiles][depth][BF16_TILE]
  const float* bias;      // [tiles * BF16_TILE], or null for zeros
  int64_t outputs, inputs;

  long depth() const { return (inputs + 1) / 2; }
  long tiles() const { return (outputs + BF16_TILE - 1) / BF16_TILE; }
  const uint32_t* tile(long index) const { return words + index * depth() * BF16_TILE; }
};

// sum + the even input's product + the odd one's.
NATIVE_INLINE f32x16 add_pairs(f32x16 sum, u32x16 weights, uint32_t pair) {
#if defined(__AVX512BF16__)
  return (f32x16)_mm512_dpbf16_ps((__m512)sum, bits_as<__m512bh>(weights),
                                  (__m512bh)_mm512_set1_epi32(int(pair)));
#else
  const u32x16 high = weights & 0xffff0000u;
  sum += bits_as<f32x16>(weights << 16) * bits_as<float>(pair << 16);
  return sum + bits_as<f32x16>(high) * bits_as<float>(pair & 0xffff0000u);
#endif
}

// out[ROWS][BF16_TILE] = (or, with `add`, +=) x * weights, over `depth` words. Row r of x starts at
// x + r * x_row. With each word come LINES cache lines of `ahead` nearer.
template <long ROWS, long LINES>
void multiply_pairs(const bf16* x, long x_row, const uint32_t* weights, long depth,
                    const char* ahead, float* out, bool add) {
  f32x16 sums[ROWS][BF16_VECTORS];
  BF16_UNROLLED
  for (long r = 0; r < ROWS; r++)
    BF16_UNROLLED
  for (long v = 0; v < BF16_VECTORS; v++)
      sums[r][v] = add ? load(out + r * BF16_TILE + v * LANES) : f32x16{};
  for (long k = 0; k < depth; k++, weights += BF16_TILE) {
    u32x16 words[BF16_VECTORS];
    std::memcpy(words, weights, sizeof(words));
    for (long line = 0; line < LINES; line++) __builtin_prefetch(ahead + line * 64);
    ahead += LINES * 64;
    BF16_UNROLLED
  for (long r = 0; r < ROWS; r++) {
      uint32_t pair;
      std::memcpy(&pair, x + r * x_row + 2 * k, sizeof(pair));
      BF16_UNROLLED
  for (long v = 0; v < BF16_VECTORS; v++) sums[r][v] = add_pairs(sums[r][v], words[v], pair);
    }
  }
  BF16_UNROLLED
  for (long r = 0; r < ROWS; r++)
    BF16_UNROLLED
  for (long v = 0; v < BF16_VECTORS; v++) store(out + r * BF16_TILE + v * LANES, sums[r][v]);
}

}  // namespace native
