#include "program/isa.h"

#include <atomic>

namespace tc {

const std::vector<const Kernels*>& kernel_tables() {
  static const std::vector<const Kernels*> tables = [] {
    std::vector<const Kernels*> found = {&kernels_baseline};
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c") && __builtin_cpu_supports("bmi2");
    if (avx2) found.push_back(&kernels_avx2);
    if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl")) {
      found.push_back(&kernels_avx512);
    }
#elif defined(__aarch64__)
    found.push_back(&kernels_neon);
#endif
    return found;
  }();
  return tables;
}

// A switch for tests, shared by all environments of the process: forcing must reach work on any thread.
static std::atomic<const Kernels*> forced{nullptr};

const Kernels& selected_kernels() {
  const Kernels* kernels = forced.load();
  return kernels != nullptr ? *kernels : *kernel_tables().back();
}

bool force_kernels(const std::string* name) {
  if (name == nullptr) {
    forced.store(nullptr);
    return true;
  }
  for (const Kernels* table : kernel_tables()) {
    if (*name == table->name) {
      forced.store(table);
      return true;
    }
  }
  return false;
}

}  // namespace tc
