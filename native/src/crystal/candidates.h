// Which atoms can be neighbours of which: a cell list in fractional coordinates.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "exact.h"

namespace tc::crystal {

class Candidates {
 public:
  // For neighbours within `radius` Å.
  void assign(const ExactCell& cell, double radius);
  // How many lists there are, and which is an atom's.
  size_t lists() const { return begin_.size() - 1; }
  uint32_t list_of(uint32_t atom) const { return list_of_.empty() ? 0 : list_of_[atom]; }
  // Rising; all atoms where a list would not save anything.
  std::span<const uint32_t> of(uint32_t atom) const {
    const uint32_t list = list_of(atom);
    return {targets_.data() + begin_[list], targets_.data() + begin_[list + 1]};
  }

 private:
  std::vector<uint32_t> list_of_;  // by atom; empty when all atoms share list 0
  std::vector<uint32_t> begin_;
  std::vector<uint32_t> targets_;
};

}  // namespace tc::crystal
