// What the Python side hands over: the paged cache of a layer, and a step's sequences. Mirrored
// field by field in views.py.
#pragma once

#include <cstdint>

#include "vectors.h"

namespace native {

// Strides count numbers (bytes in `signs`). `signs` is null where nobody writes it; the sign bits
// are taken from the keys then.
struct Cache {
  void* keys;
  void* values;
  uint8_t* signs;
  int64_t key_row, key_head;
  int64_t value_row, value_head;
  int64_t sign_row, sign_head;
  int64_t kv_heads, key_dim, value_dim;

  template <class Num>
  const Num* key(long row, long head) const {
    return static_cast<const Num*>(keys) + row * key_row + head * key_head;
  }
  template <class Num>
  const Num* value(long row, long head) const {
    return static_cast<const Num*>(values) + row * value_row + head * value_head;
  }
};

// Rows [first, last) of the step belong to a sequence, which has `length` tokens after them.
struct Span {
  int64_t sequence, first, last, length;
};

// The first `singles` sequences have one row each, and `spans` are those of the others. A row sees
// the last `window` tokens up to itself (0: all of them), or the `top_keys` best (0: all of them).
struct Step {
  const int32_t* block_table;
  const int32_t* lengths;
  const Span* spans;
  int64_t table_row;
  int64_t singles, chunks;
  int64_t block_tokens;
  int64_t window, top_keys;
};

}  // namespace native
