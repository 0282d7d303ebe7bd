// Queries, keys and values laid out as the products read them.
#pragma once

#include "products.h"

namespace native {

// The widest key or value that is taken; what stands in for the keys and values past the last.
constexpr long MAX_DIM = 4096;
alignas(64) static const uint32_t ZEROS[MAX_DIM] = {};

constexpr long round_up(long x, long unit) { return (x + unit - 1) / unit * unit; }

// One row's numbers as words; the last word is filled with zeros.
NATIVE_INLINE void pack_row(const float* from, long count, float* to) {
  std::memcpy(to, from, size_t(count) * sizeof(float));
}
NATIVE_INLINE void pack_row(const bf16* from, long count, float* to) {
  for (long i = 0; i < count; i++) to[i] = to_float(from[i]);
}
NATIVE_INLINE void pack_row(const bf16* from, long count, uint32_t* to) {
  if (count % 2) to[count / 2] = 0;
  std::memcpy(to, from, size_t(count) * sizeof(bf16));
}

#if defined(__AVX512F__)
// A 16 x 16 square of words: word w of row r to place w * 16 + r.
NATIVE_INLINE void transpose_square(const void* const* rows, long first, void* to) {
  __m512i a[16], b[16];
  for (long r = 0; r < 16; r++)
    a[r] = _mm512_loadu_si512(static_cast<const uint32_t*>(rows[r]) + first);
  for (long r = 0; r < 16; r += 2) {
    b[r] = _mm512_unpacklo_epi32(a[r], a[r + 1]);
    b[r + 1] = _mm512_unpackhi_epi32(a[r], a[r + 1]);
  }
  for (long r = 0; r < 16; r += 4) {
    a[r] = _mm512_unpacklo_epi64(b[r], b[r + 2]);
    a[r + 1] = _mm512_unpackhi_epi64(b[r], b[r + 2]);
    a[r + 2] = _mm512_unpacklo_epi64(b[r + 1], b[r + 3]);
    a[r + 3] = _mm512_unpackhi_epi64(b[r + 1], b[r + 3]);
  }
  // Lane l of a[4 g + c] now holds word 4 l + c of the rows 4 g to 4 g + 3.
  __m512i* out = static_cast<__m512i*>(to);
  for (long c = 0; c < 4; c++) {
    const __m512i even_low = _mm512_shuffle_i32x4(a[c], a[4 + c], 0x88);
    const __m512i even_high = _mm512_shuffle_i32x4(a[8 + c], a[12 + c], 0x88);
    const __m512i odd_low = _mm512_shuffle_i32x4(a[c], a[4 + c], 0xdd);
    const __m512i odd_high = _mm512_shuffle_i32x4(a[8 + c], a[12 + c], 0xdd);
    _mm512_storeu_si512(out + c, _mm512_shuffle_i32x4(even_low, even_high, 0x88));
    _mm512_storeu_si512(out + 4 + c, _mm512_shuffle_i32x4(odd_low, odd_high, 0x88));
    _mm512_storeu_si512(out + 8 + c, _mm512_shuffle_i32x4(even_low, even_high, 0xdd));
    _mm512_storeu_si512(out + 12 + c, _mm512_shuffle_i32x4(odd_low, odd_high, 0xdd));
  }
}
#endif

// Word w of row r to place w * 16 + r, of 16 rows of `words` words.
template <class Word>
NATIVE_INLINE void transpose(const void* const* rows, long words, Word* to) {
  long first = 0;
#if defined(__AVX512F__)
  for (; first + 16 <= words; first += 16) transpose_square(rows, first, to + first * LANES);
#endif
  for (long r = 0; r < LANES; r++) {
    const char* row = static_cast<const char*>(rows[r]);
    for (long w = first; w < words; w++)
      std::memcpy(to + w * LANES + r, row + w * long(sizeof(Word)), sizeof(Word));
  }
}

// The keys that `keys` points to, 16 side by side in a panel: panel p's word w at p * words * 16 +
// w * 16, zeros past the last key. `words` is a key's; `rows` is room for 16 keys.
template <class Num>
static void pack_keys(const Num* const* keys, long count, long dim, long words,
                      WordOf<Num>* rows, WordOf<Num>* to) {
  using Unit = typename WordFor<Num>::type;
  const bool words_already =
      sizeof(Num) * Unit::NUMBERS == sizeof(WordOf<Num>) && dim % Unit::NUMBERS == 0;
  for (long first = 0; first < count; first += LANES, to += words * LANES) {
    const void* panel[LANES];
    for (long i = 0; i < LANES; i++) {
      panel[i] = ZEROS;
      if (first + i >= count) continue;
      panel[i] = keys[first + i];
      if (words_already) continue;
      pack_row(keys[first + i], dim, rows + i * words);
      panel[i] = rows + i * words;
    }
    transpose(panel, words, to);
  }
}

// Two values side by side: number d of both makes word d.
NATIVE_INLINE void pack_values_of(const bf16* const* values, long dim, uint32_t* to) {
  for (long d = 0; d < dim; d++)
    to[d] = uint32_t(values[0][d].bits) | uint32_t(values[1][d].bits) << 16;
}
NATIVE_INLINE void pack_values_of(const float* const* values, long dim, float* to) {
  pack_row(values[0], dim, to);
}
NATIVE_INLINE void pack_values_of(const bf16* const* values, long dim, float* to) {
  pack_row(values[0], dim, to);
}

// The values that `values` points to, up to `padded` of them (zeros past the last): the word of
// depth k, number d at k * width + d, with zeros from dim to width.
template <class Num>
static void pack_values(const Num* const* values, long count, long padded, long dim, long width,
                        WordOf<Num>* to) {
  constexpr long NUMBERS = WordFor<Num>::type::NUMBERS;
  for (long first = 0; first < padded; first += NUMBERS, to += width) {
    const Num* of[NUMBERS];
    for (long i = 0; i < NUMBERS; i++)
      of[i] = first + i < count ? values[first + i] : reinterpret_cast<const Num*>(ZEROS);
    pack_values_of(of, dim, to);
    for (long d = dim; d < width; d++) to[d] = 0;
  }
}

}  // namespace native
