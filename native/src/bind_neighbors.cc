// neighborTables: see src/native/addon.ts.
#include <algorithm>
#include <memory>
#include <vector>

#include "arguments.h"
#include "crystal/error.h"
#include "crystal/neighbor_tables.h"
#include "crystal/neighbors.h"

namespace tc {
namespace {

using namespace crystal;

// Keeps word numbers within 32 bits: an atom has at most kRowsPerAtom rows of 4 words, and 27 targets in lists.
constexpr size_t kAtomsMax = size_t{1} << 22;
// Short lists give many invocations little to do each; long ones need no more than this to fill a device.
constexpr uint32_t kTargetsPerRow = 4;
constexpr uint32_t kRowsPerAtom = 16;

struct Job {
  Bytes offsets, frac, lattice, items;
  double cutoff;
  uint32_t nearest;
  uint32_t step;
  bool split;
  NeighborTables tables;
  std::vector<uint32_t> refused;
};

// The atoms of a structure. What JavaScript may write meanwhile is read once.
std::span<const double> atoms_of(const Job& job, uint32_t item) {
  const auto offsets = span_of<double>(job.offsets);
  const auto frac = span_of<double>(job.frac);
  if (item >= offsets.size() - 1) throw Error{"ERR_OUT_OF_RANGE", "there is no structure " + std::to_string(item)};
  const double begin = offsets[item], end = offsets[item + 1];
  if (!(begin >= 0 && begin <= end && end <= static_cast<double>(frac.size() / 3)) || begin != std::floor(begin) || end != std::floor(end)) {
    throw Error{"ERR_OUT_OF_RANGE", "offsets of structure " + std::to_string(item) + " leave the coordinates"};
  }
  return frac.subspan(3 * static_cast<size_t>(begin), 3 * static_cast<size_t>(end - begin));
}

void fill(Job& job) {
  ExactCell cell;
  for (const uint32_t item : span_of<uint32_t>(job.items)) {
    const auto frac = atoms_of(job, item);
    const size_t atoms = frac.size() / 3;
    try {
      if (job.tables.atoms.size() / NeighborTables::kAtomWords + atoms > kAtomsMax) throw CrystalError(Fault::TooManyEdges, "too many atoms");
      Lattice rows;
      std::memcpy(rows.data(), job.lattice.data + item * sizeof(Lattice), sizeof(Lattice));
      cell.assign(rows, frac);
      const double radius = job.nearest == 0 || atoms == 0 ? job.cutoff : radius_for_nearest(cell, job.nearest, job.step);
      const uint32_t targets = job.split ? std::max(kTargetsPerRow, static_cast<uint32_t>((atoms + kRowsPerAtom - 1) / kRowsPerAtom)) : 0;
      job.tables.append(cell, key_of_cutoff(radius), targets);
    } catch (const CrystalError&) {
      job.refused.push_back(item);
    }
  }
}

Napi::Value words_result(Napi::Env env, const std::vector<uint32_t>& words, const std::vector<uint32_t>& more = {}) {
  Napi::Uint32Array result = Napi::Uint32Array::New(env, words.size() + more.size());
  std::copy(more.begin(), more.end(), std::copy(words.begin(), words.end(), result.Data()));
  return result;
}

Napi::Value neighbor_tables(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto job = std::make_shared<Job>();
  job->offsets = typed_argument(info, 0, "offsets", napi_float64_array, "Float64Array");
  job->frac = typed_argument(info, 1, "frac", napi_float64_array, "Float64Array");
  job->lattice = typed_argument(info, 2, "lattice", napi_float64_array, "Float64Array");
  job->items = typed_argument(info, 3, "items", napi_uint32_array, "Uint32Array");
  if (!info[4].IsNumber()) throw_type(env, "cutoff must be a number");
  job->cutoff = info[4].As<Napi::Number>().DoubleValue();
  if (!(job->cutoff > 0 && job->cutoff <= kCutoffMax)) throw_range(env, "cutoff must be above 0 and at most 1024 Å");
  job->nearest = static_cast<uint32_t>(integer_argument(info, 5, "nearest", 0, 4294967295.0));
  job->step = static_cast<uint32_t>(integer_argument(info, 6, "step", 0, 1000));
  if (!info[7].IsBoolean()) throw_type(env, "split must be a boolean");
  job->split = info[7].As<Napi::Boolean>();
  const size_t offsets = job->offsets.size / sizeof(double);
  if (offsets == 0 || job->lattice.size != (offsets - 1) * sizeof(Lattice)) throw_range(env, "lattice must hold 9 numbers for each structure, and offsets one more than there are");
  return Task::run(
      env, [job] { fill(*job); },
      [job](Napi::Env env) {
        const NeighborTables& tables = job->tables;
        Napi::Object result = Napi::Object::New(env);
        result.Set("rows", words_result(env, tables.rows, tables.targets));
        result.Set("cells", words_result(env, tables.cells));
        result.Set("atoms", words_result(env, tables.atoms));
        result.Set("limits", words_result(env, tables.limits));
        result.Set("firstRow", words_result(env, tables.first_row));
        result.Set("refused", words_result(env, job->refused));
        return result;
      });
}

}  // namespace

void init_neighbors(Napi::Env env, Napi::Object exports) { exports.Set("neighborTables", Napi::Function::New(env, neighbor_tables, "neighborTables")); }

}  // namespace tc
