// Tasks over the threads of torch's own pool; one thread starts no region.
//
// The pool is reached through the start function of the OpenMP library that torch has loaded, so
// this code is compiled without OpenMP and the process keeps a single pool.
#pragma once

#include <atomic>

namespace native {

// libgomp's GOMP_parallel; LLVM's and Intel's libraries export it too.
using StartParallel = void (*)(void (*body)(void*), void* data, unsigned threads, unsigned flags);

// Null where there is no OpenMP library: everything runs on the calling thread then.
extern StartParallel start_parallel;

// Calls body(task) for every task of [0, tasks), in any order, on up to `threads` threads.
template <class Body>
void parallel_for(long tasks, long threads, Body& body) {
  if (threads < 2 || tasks < 2 || !start_parallel) {
    for (long task = 0; task < tasks; task++) body(task);
    return;
  }
  struct Shared {
    Body& body;
    std::atomic<long> next;
    long tasks;
  } shared{body, {0}, tasks};
  const auto work = [](void* data) {
    auto& all = *static_cast<Shared*>(data);
    for (long task; (task = all.next.fetch_add(1, std::memory_order_relaxed)) < all.tasks;)
      all.body(task);
  };
  // Always the whole team: a team of another size would end threads and start new ones.
  start_parallel(work, &shared, unsigned(threads), 0);
}

}  // namespace native
