// Attention of a step over the paged cache: which rows make a task, and which keys a row sees.

#include <vector>

#include "attention.h"
#include "operations.h"
#include "parallel.h"
#include "top_keys.h"

namespace native {
namespace {

constexpr long TASK_QUERIES = 384;  // of a prompt's chunk: packing a tile is 3 % of its products

// Blocks whose sign bits are fetched meanwhile. Measured: 0.13 ms for a row over 8,000 tokens, 0.20
// ms without.
constexpr long BLOCKS_AHEAD = 16;

// Fewer multiplications than this, about 0.15 ms of decoding, are not worth the threads (chosen).
constexpr double PARALLEL_PRODUCTS = 4e6;

// Calls body(i, row) with the cache row of position first + i, for i in [0, count).
template <class Body>
void over_positions(const int32_t* blocks, long block_tokens, long first, long count, Body body) {
  long block = first / block_tokens, offset = first % block_tokens;
  for (long i = 0; i < count; block++, offset = 0)
    for (long row = blocks[block] * block_tokens + offset; offset < block_tokens && i < count;
         offset++, row++, i++)
      body(i, row);
}

// Positions of a task's keys: the first that its first row sees, and the end of its last row's.
Range keys_of(const Step& step, const Task& task) {
  return {step.window ? std::max(0L, task.seen - step.window) : 0, task.seen_by_last()};
}

// Keys in each tile of a range: as even as can be, because a tile is fetched during the one before.
long tile_keys(Range keys) {
  const long count = keys.last - keys.first, tiles = (count + TILE_KEYS - 1) / TILE_KEYS;
  return round_up((count + tiles - 1) / std::max(1L, tiles), LANES);
}

// The rows of positions [first, first + count), as far as they are before `last`.
void find_rows(const Step& step, const Task& task, long first, long count, long last, Rows& rows) {
  rows.count = std::max(0L, std::min(count, last - first));
  over_positions(task.blocks, step.block_tokens, first, rows.count,
                 [&](long i, long row) { rows.at[i] = row; });
}

// Every token up to the row's own, or the last `window` of them. `next` is the task to follow.
template <class Num>
void attend_all(const Call<Num>& call, const Task& task, const Task* next) {
  Workspace<Num>& memory = workspace<Num>();
  const Step& step = call.step;
  const Parts<Num> parts =
      start(call, task.first, task.rows(), task.head_first, task.head_last, memory);
  const Range keys = keys_of(step, task);
  const long window = step.window ? step.window : keys.last;
  const long size = tile_keys(keys);
  find_rows(step, task, keys.first, size, keys.last, memory.rows);
  for (long key = keys.first; key < keys.last; key += size) {
    if (key + size < keys.last || !next) {
      find_rows(step, task, key + size, size, keys.last, memory.next);
    } else {
      const Range following = keys_of(step, *next);
      find_rows(step, *next, following.first, tile_keys(following), following.last, memory.next);
    }
    const long count = memory.rows.count;
    for (const Running<Num>& run : parts) {
      const auto visible = [&](long query) {
        const long seen = task.seen + query / run.heads - key;
        return Range{std::max(0L, seen - window), std::min(count, seen)};
      };
      const Tile<Num> tile = pack(call, run.kv_head, memory);
      add_tile(call, run, tile, visible, memory);
    }
    std::swap(memory.rows, memory.next);
  }
  for (const Running<Num>& run : parts) finish(call, run);
}

// One row's head over the keys of `positions`.
template <class Num>
void attend_positions(const Call<Num>& call, const Task& task, long row, long head,
                      const long* positions, long count) {
  Workspace<Num>& memory = workspace<Num>();
  const Running<Num>& run = *start(call, row, 1, head, head + 1, memory).first;
  memory.next.count = 0;
  for (long first = 0; first < count; first += TILE_KEYS) {
    const long keys = memory.rows.count = std::min(TILE_KEYS, count - first);
    for (long i = 0; i < keys; i++)
      over_positions(task.blocks, call.step.block_tokens, positions[first + i], 1,
                     [&](long, long row) { memory.rows.at[i] = row; });
    const Tile<Num> tile = pack(call, run.kv_head, memory);
    add_tile(call, run, tile, [&](long) { return Range{0, keys}; }, memory);
  }
  finish(call, run);
}

struct Selection {
  BestKeys best;
  Scratch<float> table, scores;
  Scratch<uint32_t> signs;
  Scratch<long> positions, counts;
};

// The sign bits of the first `count` keys of a sequence, sixteen keys side by side.
template <class Num>
const uint32_t* gather_signs(const Call<Num>& call, const Task& task, long kv_head, long count,
                             Selection& memory) {
  const Cache& cache = call.cache;
  const long words = sign_words(cache.key_dim), tokens = call.step.block_tokens;
  uint32_t* signs = memory.signs.take(round_up(count, LANES) * words);
  for (long first = 0; first < count; first += tokens) {
    if (const long ahead = first / tokens + BLOCKS_AHEAD; cache.signs && ahead * tokens < count)
      fetch(cache.signs + task.blocks[ahead] * tokens * cache.sign_row, tokens * cache.sign_row);
    for (long i = first, row = task.blocks[first / tokens] * tokens;
         i < std::min(first + tokens, count); i++, row++)
      load_signs<Num>(cache, row, kv_head, words,
                      signs + i / LANES * words * LANES + i % LANES);
  }
  return signs;
}

// Writes the positions of a head's best keys, and has these keys and their values fetched.
template <class Num>
long find_best(const Call<Num>& call, const Task& task, long row, long seen, long head,
               const uint32_t* signs, Selection& memory, long* positions) {
  const Cache& cache = call.cache;
  const long words = sign_words(cache.key_dim), kv_head = head / call.group();
  float* table = memory.table.take(words * NIBBLES * LANES);
  float* scores = memory.scores.take(round_up(seen, LANES));
  make_table(call.q + row * call.q_row + head * call.q_head, cache.key_dim, table);
  for (long key = 0; key < seen; key += LANES, signs += words * LANES)
    store(scores + key, cheap_scores(table, signs, words));
  const long count = memory.best.find(scores, seen, call.step.top_keys, positions);
  for (long i = 0; i < count; i++)
    over_positions(task.blocks, call.step.block_tokens, positions[i], 1, [&](long, long at) {
      fetch(cache.key<Num>(at, kv_head), cache.key_dim * long(sizeof(Num)));
      fetch(cache.value<Num>(at, kv_head), cache.value_dim * long(sizeof(Num)));
    });
  return count;
}

// One row's heads [head, head + heads), of one K/V head, each over its best keys.
template <class Num>
void attend_best(const Call<Num>& call, const Task& task, long row, long seen, long head,
                 long heads, const uint32_t* signs, Selection& memory) {
  const long wanted = call.step.top_keys;
  long* positions = memory.positions.take(heads * wanted);
  long* counts = memory.counts.take(heads);
  for (long h = 0; h < heads; h++)
    counts[h] =
        find_best(call, task, row, seen, head + h, signs, memory, positions + h * wanted);
  for (long h = 0; h < heads; h++)
    attend_positions(call, task, row, head + h, positions + h * wanted, counts[h]);
}

// Every row over the `top_keys` best of the tokens up to its own.
template <class Num>
void attend_top(const Call<Num>& call, const Task& task) {
  static thread_local Selection memory;
  for (long head = task.head_first; head < task.head_last;) {
    const long heads = std::min(task.head_last, round_up(head + 1, call.group())) - head;
    const uint32_t* signs =
        gather_signs(call, task, head / call.group(), task.seen_by_last(), memory);
    for (long row = task.first; row < task.last; row++) {
      const long seen = task.seen + row - task.first;
      if (seen > call.step.top_keys)
        attend_best(call, task, row, seen, head, heads, signs, memory);
      else
        attend_all(call, Task{task.blocks, row, row + 1, seen, head, head + heads}, nullptr);
    }
    head += heads;
  }
}

// Chunks first, and of these the rows that see most, so that no thread ends with a long task.
template <class Num>
void add_chunk(const Call<Num>& call, const Span& span, std::vector<Task>& tasks) {
  const long group = call.group(), rows = std::max(1L, TASK_QUERIES / group);
  const int32_t* blocks = call.step.block_table + span.sequence * call.step.table_row;
  for (long last = span.last; last > span.first; last -= rows) {
    const long first = std::max(span.first, last - rows);
    const long seen = span.length - (span.last - 1 - first);
    for (long head = 0; head < call.heads; head += group)
      tasks.push_back({blocks, first, last, seen, head, head + group});
  }
}

// A single row is one task, unless threads would idle.
template <class Num>
void add_singles(const Call<Num>& call, long threads, std::vector<Task>& tasks) {
  const Step& step = call.step;
  long heads = call.heads;
  if (threads > step.singles && step.singles) {
    const long parts = std::min(call.heads, (threads + step.singles - 1) / step.singles);
    heads = round_up(call.heads, parts) / parts;
    if (heads > call.group()) heads = round_up(heads, call.group());
  }
  for (long i = 0; i < step.singles; i++)
    for (long head = 0; head < call.heads; head += heads)
      tasks.push_back({step.block_table + i * step.table_row, i, i + 1, step.lengths[i], head,
                       std::min(call.heads, head + heads)});
}

double products(const std::vector<Task>& tasks, const Cache& cache) {
  double count = 0;
  for (const Task& task : tasks)
    count += double(task.rows()) * double(task.head_last - task.head_first) *
             double(task.seen_by_last());
  return count * double(cache.key_dim + cache.value_dim);
}

template <class Num>
void attend(const Call<Num>& call, long threads) {
  static thread_local std::vector<Task> memory;
  std::vector<Task>& tasks = memory;  // the calling thread's, in the other threads too
  tasks.clear();
  for (long i = 0; i < call.step.chunks; i++) add_chunk(call, call.step.spans[i], tasks);
  add_singles(call, threads, tasks);
  if (threads > 1 && products(tasks, call.cache) < PARALLEL_PRODUCTS) threads = 1;
  const auto run = [&](long i) {
    const Task& task = tasks[size_t(i)];
    const size_t next = size_t(i + threads);  // of this thread, most likely
    if (call.step.top_keys)
      attend_top(call, task);
    else
      attend_all(call, task, next < tasks.size() ? &tasks[next] : nullptr);
  };
  parallel_for(long(tasks.size()), threads, run);
}

}  // namespace
}  // namespace native

#define NATIVE_ATTEND(NAME, NUM)                                                               \
  extern "C" void NAME(NUM* out, const NUM* q, int64_t q_row, int64_t q_head, int64_t heads,   \
                       const native::Cache* cache, const native::Step* step, float scale,      \
                       int64_t threads) {                                                      \
    native::attend<NUM>({*cache, *step, q, q_row, q_head, out, heads, scale}, threads);        \
  }

NATIVE_ATTEND(attend_f32, float)
NATIVE_ATTEND(attend_bf16, native::bf16)
