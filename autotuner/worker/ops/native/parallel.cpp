#include "parallel.h"

namespace native {

StartParallel start_parallel = nullptr;

}  // namespace native

extern "C" void use_parallel(void* start) {
  native::start_parallel = reinterpret_cast<native::StartParallel>(start);
}
