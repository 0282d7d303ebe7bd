// Small matrix products a[rows, depth] * b[depth, columns] in float32, b packed for the registers.
//
// The unit of depth is a word of 32 bits: a float32, or two bfloat16 that one instruction
// multiplies and adds to a float32. Where the processor lacks it, bfloat16 is packed as float32.
#pragma once

#include "vectors.h"

namespace native {

struct FloatWord {
  using Word = float;
  static constexpr long NUMBERS = 1;

  NATIVE_INLINE f32x16 multiply_add(f32x16 a, f32x16 b, f32x16 to) { return to + a * b; }
};

#if defined(__AVX512BF16__)
struct PairWord {
  using Word = uint32_t;
  static constexpr long NUMBERS = 2;

  NATIVE_INLINE f32x16 multiply_add(f32x16 a, f32x16 b, f32x16 to) {
    return (f32x16)_mm512_dpbf16_ps((__m512)to, bits_as<__m512bh>(a), bits_as<__m512bh>(b));
  }
};
#endif

template <class Num>
struct WordFor {
  using type = FloatWord;
};
#if defined(__AVX512BF16__)
template <>
struct WordFor<bf16> {
  using type = PairWord;
};
#endif

template <class Num>
using WordOf = typename WordFor<Num>::type::Word;

// As many accumulators as the processor has registers for.
#if defined(__AVX512F__)
constexpr long BLOCK_ROWS = 6, BLOCK_VECTORS = 4;
#else
constexpr long BLOCK_ROWS = 3, BLOCK_VECTORS = 1;
#endif

// Vector v of depth k lies at words + k * step + v * vector.
template <class Word>
struct Packed {
  const Word* words;
  long step, vector;

  NATIVE_INLINE f32x16 load_words(const Word* from) {
    f32x16 v;
    std::memcpy(&v, from, sizeof(v));
    return v;
  }
};

template <class Unit, long ROWS, long VECTORS>
NATIVE_INLINE void multiply_block(const typename Unit::Word* a, long a_row,
                                  Packed<typename Unit::Word> b, long depth, float* to, long to_row,
                                  bool add) {
  using Words = Packed<typename Unit::Word>;
  f32x16 sums[ROWS][VECTORS];
  for (long row = 0; row < ROWS; row++)
    for (long v = 0; v < VECTORS; v++)
      sums[row][v] = add ? load(to + row * to_row + v * LANES) : f32x16{};
  for (long k = 0; k < depth; k++) {
    f32x16 columns[VECTORS];
    for (long v = 0; v < VECTORS; v++)
      columns[v] = Words::load_words(b.words + k * b.step + v * b.vector);
    for (long row = 0; row < ROWS; row++) {
      const f32x16 word = splat(bits_as<float>(a[row * a_row + k]));
      for (long v = 0; v < VECTORS; v++)
        sums[row][v] = Unit::multiply_add(word, columns[v], sums[row][v]);
    }
  }
  for (long row = 0; row < ROWS; row++)
    for (long v = 0; v < VECTORS; v++) store(to + row * to_row + v * LANES, sums[row][v]);
}

template <class Unit, long VECTORS>
static void multiply_columns(const typename Unit::Word* a, long a_row, long rows,
                             Packed<typename Unit::Word> b, long depth, float* to, long to_row,
                             bool add) {
  long row = 0;
  for (; row + BLOCK_ROWS <= rows; row += BLOCK_ROWS)
    multiply_block<Unit, BLOCK_ROWS, VECTORS>(a + row * a_row, a_row, b, depth, to + row * to_row,
                                              to_row, add);
  for (; row + 3 <= rows; row += 3)
    multiply_block<Unit, 3, VECTORS>(a + row * a_row, a_row, b, depth, to + row * to_row, to_row,
                                     add);
  for (; row < rows; row++)
    multiply_block<Unit, 1, VECTORS>(a + row * a_row, a_row, b, depth, to + row * to_row, to_row,
                                     add);
}

// to[rows, vectors * LANES] = (or, with `add`, +=) a * b.
template <class Unit>
static void multiply(const typename Unit::Word* a, long a_row, long rows,
                     Packed<typename Unit::Word> b, long depth, long vectors, float* to,
                     long to_row, bool add) {
  long v = 0;
  for (; v + BLOCK_VECTORS <= vectors; v += BLOCK_VECTORS, b.words += BLOCK_VECTORS * b.vector)
    multiply_columns<Unit, BLOCK_VECTORS>(a, a_row, rows, b, depth, to + v * LANES, to_row, add);
  for (; v < vectors; v++, b.words += b.vector)
    multiply_columns<Unit, 1>(a, a_row, rows, b, depth, to + v * LANES, to_row, add);
}

}  // namespace native
