// The keys that top_k keeps: scores from the keys' sign bits alone, and the best of them.
#pragma once

#include <algorithm>

#include "attention.h"

namespace native {

// The cheap score of a key is the sum of +q or -q over its numbers, by sign bit. Four sign bits
// choose one of 16 sums, so a query has a table of 16 for every four numbers, and a score is one
// look-up and one addition for each: sixteen keys at a time.
constexpr long NIBBLES = 8;  // of a word of 32 sign bits

constexpr long sign_words(long key_dim) { return round_up(key_dim, 32) / 32; }

template <class Num>
static void make_table(const Num* query, long dim, float* table) {
  const f32x16 bit0 = {1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1};
  const f32x16 bit1 = {1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1};
  const f32x16 bit2 = {1, 1, 1, 1, -1, -1, -1, -1, 1, 1, 1, 1, -1, -1, -1, -1};
  const f32x16 bit3 = {1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1, -1};
  const auto number = [&](long i) { return i < dim ? to_float(query[i]) : 0.0f; };
  for (long first = 0; first < sign_words(dim) * 32; first += 4, table += LANES)
    store(table, bit0 * number(first) + bit1 * number(first + 1) + bit2 * number(first + 2) +
                     bit3 * number(first + 3));
}

// Of sixteen keys; word w of key i is signs[w * 16 + i].
NATIVE_INLINE f32x16 cheap_scores(const float* table, const uint32_t* signs, long words) {
  f32x16 even = {}, odd = {};
  for (long w = 0; w < words; w++) {
    u32x16 bits;
    std::memcpy(&bits, signs + w * LANES, sizeof(bits));
    for (long n = 0; n < NIBBLES; n += 2, table += 2 * LANES) {
      even += look_up(table, bits);
      odd += look_up(table + LANES, bits >> 4);
      bits >>= 8;
    }
  }
  return even + odd;
}

// The sign bits of one key, to every 16th word.
template <class Num>
static void load_signs(const Cache& cache, long row, long head, long words, uint32_t* to) {
  const long dim = cache.key_dim;
  if (cache.signs) {
    const uint8_t* from = cache.signs + row * cache.sign_row + head * cache.sign_head;
    const long bytes = round_up(dim, 8) / 8;
    long w = 0;
    for (; (w + 1) * 4 <= bytes; w++) std::memcpy(to + w * LANES, from + w * 4, 4);
    if (w < words) {
      to[w * LANES] = 0;
      std::memcpy(to + w * LANES, from + w * 4, size_t(bytes - w * 4));
    }
    return;
  }
  const Num* key = cache.key<Num>(row, head);
  for (long w = 0; w < words; w++) to[w * LANES] = 0;
  long i = 0;
  for (; i + LANES <= dim; i += LANES) to[i / 32 * LANES] |= sign_bits(key + i) << (i % 32);
  for (; i < dim; i++) to[i / 32 * LANES] |= uint32_t(is_negative(key[i])) << (i % 32);
}

// A whole number that orders like the score, as far as neither is not-a-number.
NATIVE_INLINE int32_t in_order(float score) {
  const int32_t bits = bits_as<int32_t>(score + 0.0f);  // -0 is 0
  return bits ^ int32_t(uint32_t(bits >> 31) >> 1);
}

// A number that at least `wanted` of `count` numbers, which are no fewer, reach. If more do, it
// is the wanted one of the greatest itself. Found bit by bit from the top.
static int32_t nth_greatest(const int32_t* numbers, long count, int wanted) {
  int32_t least = INT32_MIN;
  for (uint32_t step = 1u << 31; step > 0; step >>= 1) {
    const int32_t bar = int32_t(uint32_t(least) + step);
    int reached = 0;
    for (long i = 0; i < count; i++) reached += numbers[i] >= bar;
    if (reached == wanted) return bar;
    if (reached > wanted) least = bar;
  }
  return least;
}

// Finds the best of many scores: 4 times as many groups as are wanted each give their greatest, and
// what reaches the wanted'th of these is a little more than what is wanted.
class BestKeys {
 public:
  // Writes the positions of the `wanted` greatest scores in order, ties to the earlier; returns how
  // many: not-a-number is never among them. A whole vector is read at the end of the scores.
  long find(const float* scores, long count, long wanted, long* positions) {
    const float bar = bar_below(scores, count, 4 * wanted, int(wanted));
    int32_t* numbers = numbers_.take(count);
    int32_t* found = found_.take(count);
    long candidates = 0;
    for (long first = 0; first < count; first += LANES) {
      uint32_t reaching = lanes_reaching(load(scores + first), bar);
      if (count - first < LANES) reaching &= (1u << (count - first)) - 1;
      for (; reaching; reaching &= reaching - 1, candidates++) {
        const long i = first + __builtin_ctz(reaching);
        numbers[candidates] = in_order(scores[i]);
        found[candidates] = int32_t(i);
      }
    }
    const int32_t least =
        candidates < wanted ? INT32_MIN : nth_greatest(numbers, candidates, int(wanted));
    long equals = wanted;  // what the greater ones leave of the places
    for (long i = 0; i < candidates; i++) equals -= numbers[i] > least;
    long kept = 0;
    for (long i = 0; i < candidates && kept < wanted; i++)
      if (numbers[i] > least || (numbers[i] == least && equals-- > 0)) positions[kept++] = found[i];
    return kept;
  }

 private:
  // At least `wanted` scores reach it, if there are as many.
  float bar_below(const float* scores, long count, long groups, int wanted) {
    if (count <= groups) return -__builtin_inff();
    float* best = best_.take(groups);
    std::copy_n(scores, groups, best);
    for (long first = groups; first < count; first += groups)
      for (long i = 0; i < std::min(groups, count - first); i++)
        best[i] = scores[first + i] > best[i] ? scores[first + i] : best[i];
    int32_t* numbers = numbers_.take(count);
    for (long i = 0; i < groups; i++) numbers[i] = in_order(best[i]);
    const int32_t number = nth_greatest(numbers, groups, wanted);
    return bits_as<float>(number ^ int32_t(uint32_t(number >> 31) >> 1));
  }

  Scratch<int32_t> numbers_, found_;
  Scratch<float> best_;
};

}  // namespace native
