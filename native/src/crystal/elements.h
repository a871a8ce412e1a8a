// Properties of the elements that CrystalNN weighs neighbours with. See elements.cc for sources.
#pragma once

#include <cstdint>

namespace tc::crystal {

double electronegativity(int32_t number);  // Pauling's; NaN where there is none
double covalent_radius(int32_t number);    // Å; 0 where there is none

// Å, for an oxidation state, whole or between two whole ones; the mean of all cations or anions of the element where this state is not listed;
// 0 where nothing is.
double ionic_radius(int32_t number, double oxidation);

}  // namespace tc::crystal
