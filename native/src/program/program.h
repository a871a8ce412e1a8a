// A checked program, ready to run. Immutable after its construction, so any number of runs may overlap.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "kernels/kernels.h"
#include "program/description.h"
#include "program/plans.h"

namespace tc {

struct ProgramFault {
  size_t step, item, count, index;
};

struct Value {
  int dtype;
  std::vector<size_t> shape;
  size_t elements;
  size_t bytes;
  // Where it lies while an item runs: in an input or output array, or at an offset of the scratch memory.
  enum class Place { kNowhere, kInput, kOutput, kScratch } place = Place::kNowhere;
  size_t port = 0;
  size_t offset = 0;
};

// Seconds that threads spent on steps, for profiles.
struct Spent {
  std::atomic<int64_t> cast_ns{0}, other_ns{0};
};

class Program {
 public:
  // Throws InvalidProgram.
  explicit Program(ProgramDescription description);

  // Arrays hold `count` items one after the other, and have the right length.
  std::vector<ProgramFault> run(size_t count, const std::vector<const uint8_t*>& inputs, const std::vector<uint8_t*>& outputs, unsigned threads, Spent* spent = nullptr) const;

  const std::vector<Value>& values() const { return values_; }
  const std::vector<size_t>& inputs() const { return inputs_; }
  const std::vector<size_t>& outputs() const { return outputs_; }
  size_t scratch_bytes() const { return scratch_bytes_; }

 private:
  void validate(const ProgramDescription& description);
  void plan(ProgramDescription& description);
  void place();
  bool run_item(const struct ItemRun& item, ProgramFault& fault) const;

  std::vector<Value> values_;
  std::vector<size_t> inputs_, outputs_;
  std::vector<Unit> units_;
  size_t scratch_bytes_ = 0;
  bool large_ = false;  // an item is worth more than one thread
};

}  // namespace tc
