// Which kernel table programs run with.
#pragma once

#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace tc {

// Tables that this processor can run, slowest first.
const std::vector<const Kernels*>& kernel_tables();

// The forced table, or the best one.
const Kernels& selected_kernels();

// Null returns to the best one. False when there is no such table here.
bool force_kernels(const std::string* name);

}  // namespace tc
