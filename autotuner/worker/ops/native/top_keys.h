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

// The `wanted` best of scores seen in the order of their positions, ties to the earlier.
class BestKeys {
 public:
  void start(long wanted) {
    wanted_ = wanted;
    room_ = 4 * wanted + LANES;
    kept_ = memory_.take(room_);
    count_ = 0;
    bar_ = -__builtin_inff();
  }

  // Positions first to first + count - 1.
  void see(f32x16 scores, long first, long count) {
    uint32_t better = lanes_above(scores, bar_) & ((1u << count) - 1);
    for (; better; better &= better - 1) {
      const long i = __builtin_ctz(better);
      kept_[count_++] = {scores[i], int32_t(first + i)};
    }
    if (count_ + LANES > room_) prune();
  }

  // Writes the positions in order; returns how many.
  long finish(long* positions) {
    prune();
    for (long i = 0; i < count_; i++) positions[i] = kept_[i].position;
    std::sort(positions, positions + count_);
    return count_;
  }

 private:
  struct Candidate {
    float score;
    int32_t position;
  };

  static bool better(Candidate a, Candidate b) {
    return a.score > b.score || (a.score == b.score && a.position < b.position);
  }

  // Later positions must beat the worst that is kept: an equal score would lose the tie.
  void prune() {
    if (count_ < wanted_) return;
    std::nth_element(kept_, kept_ + wanted_ - 1, kept_ + count_, better);
    count_ = wanted_;
    bar_ = kept_[wanted_ - 1].score;
  }

  Scratch<Candidate> memory_;
  Candidate* kept_ = nullptr;
  long wanted_ = 0, room_ = 0, count_ = 0;
  float bar_ = 0;
};

}  // namespace native
