// Working memory that a thread keeps between calls; it only grows.
#pragma once

#include <cstdlib>

namespace native {

// `count` numbers, 64-byte aligned; what was in them is lost when the memory grows.
template <class T>
class Scratch {
 public:
  Scratch() = default;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { std::free(memory_); }

  T* take(long count) {
    if (count > capacity_) grow(count);
    return memory_;
  }

 private:
  void grow(long count) {
    const long bytes = (count * long(sizeof(T)) + 63) / 64 * 64;
    std::free(memory_);
    capacity_ = 0;
    memory_ = static_cast<T*>(std::aligned_alloc(64, bytes));
    if (!memory_) std::abort();  // nothing can throw through a C interface
    capacity_ = count;
  }

  T* memory_ = nullptr;
  long capacity_ = 0;
};

}  // namespace native
