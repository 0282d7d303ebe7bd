// Attention of a step over the paged cache: which rows make a task, and which keys a row sees.

#include <vector>

#include "attention.h"
#include "parallel.h"
#include "top_keys.h"

namespace native {
namespace {

constexpr long TASK_QUERIES = 384;  // of a prompt's chunk: packing a tile is 3 % of its products

// Fewer multiplications than this are done before other threads have woken (chosen).
constexpr double PARALLEL_PRODUCTS = 1e6;

// The cache rows of positions [first, first + count).
void find_rows(const int32_t* blocks, long block_tokens, long first, long count, long* rows) {
  for (long i = 0; i < count; i++) {
    const long position = first + i;
    rows[i] = blocks[position / block_tokens] * block_tokens + position % block_tokens;
  }
}

// Every token up to the row's own, or the last `window` of them.
template <class Num>
void attend_all(const Call<Num>& call, const Task& task) {
  Workspace<Num>& memory = workspace<Num>();
  const long parts =
      start(call, task.first, task.rows(), task.head_first, task.head_last, memory);
  const Running<Num>* running = memory.running.take(parts);
  const long window = call.step.window ? call.step.window : task.seen_by_last();
  const long last = task.seen_by_last();
  for (long key = std::max(0L, task.seen - window); key < last; key += TILE_KEYS) {
    const long count = std::min(TILE_KEYS, last - key);
    find_rows(task.blocks, call.step.block_tokens, key, count, memory.rows);
    for (long part = 0; part < parts; part++) {
      const Running<Num>& run = running[part];
      const auto visible = [&](long query) {
        const long seen = task.seen + query / run.heads - key;
        return Range{std::max(0L, seen - window), std::min(count, seen)};
      };
      const Tile<Num> tile = pack(call, memory.rows, count, run.kv_head, memory);
      add_tile(call, run, tile, visible, memory);
    }
  }
  for (long part = 0; part < parts; part++) finish(call, running[part]);
}

// One row's heads [head, head + heads), of one K/V head, over the keys of `positions`.
template <class Num>
void attend_positions(const Call<Num>& call, const Task& task, long row, long head, long heads,
                      const long* positions, long count) {
  Workspace<Num>& memory = workspace<Num>();
  start(call, row, 1, head, head + heads, memory);
  const Running<Num>& run = *memory.running.take(1);
  for (long first = 0; first < count; first += TILE_KEYS) {
    const long keys = std::min(TILE_KEYS, count - first);
    for (long i = 0; i < keys; i++)
      find_rows(task.blocks, call.step.block_tokens, positions[first + i], 1, memory.rows + i);
    const Tile<Num> tile = pack(call, memory.rows, keys, run.kv_head, memory);
    add_tile(call, run, tile, [&](long) { return Range{0, keys}; }, memory);
  }
  finish(call, run);
}

struct Selection {
  std::vector<BestKeys> best;
  Scratch<float> tables;
  Scratch<uint32_t> signs;
  Scratch<long> positions;
};

// One row's heads [head, head + heads), of one K/V head, each over its best keys.
template <class Num>
void attend_best(const Call<Num>& call, const Task& task, long row, long seen, long head,
                 long heads) {
  static thread_local Selection memory;
  const Cache& cache = call.cache;
  const long wanted = call.step.top_keys, kv_head = head / call.group();
  const long words = sign_words(cache.key_dim), table_size = words * NIBBLES * LANES;
  float* tables = memory.tables.take(heads * table_size);
  uint32_t* signs = memory.signs.take(words * LANES);
  if (long(memory.best.size()) < heads) memory.best = std::vector<BestKeys>(size_t(heads));
  for (long h = 0; h < heads; h++) {
    memory.best[size_t(h)].start(wanted);
    make_table(call.q + row * call.q_row + (head + h) * call.q_head, cache.key_dim,
               tables + h * table_size);
  }
  long rows[LANES];
  for (long key = 0; key < seen; key += LANES) {
    const long count = std::min(LANES, seen - key);
    find_rows(task.blocks, call.step.block_tokens, key, count, rows);
    for (long i = 0; i < count; i++) load_signs<Num>(cache, rows[i], kv_head, words, signs + i);
    for (long h = 0; h < heads; h++)
      memory.best[size_t(h)].see(cheap_scores(tables + h * table_size, signs, words), key, count);
  }
  long* positions = memory.positions.take(wanted);
  for (long h = 0; h < heads; h++) {
    const long count = memory.best[size_t(h)].finish(positions);
    attend_positions(call, task, row, head + h, 1, positions, count);
  }
}

// Every row over the `top_keys` best of the tokens up to its own.
template <class Num>
void attend_top(const Call<Num>& call, const Task& task) {
  for (long head = task.head_first; head < task.head_last;) {
    const long heads = std::min(task.head_last, round_up(head + 1, call.group())) - head;
    for (long row = task.first; row < task.last; row++) {
      const long seen = task.seen + row - task.first;
      if (seen > call.step.top_keys)
        attend_best(call, task, row, seen, head, heads);
      else
        attend_all(call, Task{task.blocks, row, row + 1, seen, head, head + heads});
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
  const auto run = [&](long i) {
    call.step.top_keys ? attend_top(call, tasks[size_t(i)]) : attend_all(call, tasks[size_t(i)]);
  };
  if (threads > 1 && products(tasks, call.cache) < PARALLEL_PRODUCTS) threads = 1;
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
