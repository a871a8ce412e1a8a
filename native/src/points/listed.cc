#include "points/listed.h"

#include <algorithm>

namespace tc::points {

bool nearest_listed(const Lists& lists, size_t list, int32_t point, uint32_t k, int32_t* index, double* squared, PointGrid::Found& found) {
  const auto words = lists.words.subspan(list * (lists.room + 1), lists.room + 1);
  const size_t count = words[0], points = lists.x.size();
  // A negative index is too large, too.
  if (count < k || count > lists.room || static_cast<uint32_t>(point) >= points) return false;
  const double x = lists.x[point], y = lists.y[point];
  found.clear();
  for (const uint32_t place : words.subspan(1, count)) {
    if (place >= lists.order.size()) return false;
    const int32_t candidate = lists.order[place];
    if (static_cast<uint32_t>(candidate) >= points) return false;
    const double dx = lists.x[candidate] - x, dy = lists.y[candidate] - y;
    found.push_back({dx * dx + dy * dy, candidate});
  }
  std::partial_sort(found.begin(), found.begin() + k, found.end());
  for (size_t i = 0; i < k; i++) {
    squared[i] = found[i].first;
    index[i] = found[i].second;
  }
  return true;
}

}  // namespace tc::points
