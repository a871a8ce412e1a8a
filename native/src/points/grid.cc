#include "points/grid.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <limits>

namespace tc::points {
namespace {

// Points of a cell on average, and from how many on a cell is cut again.
constexpr double kPointsPerCell = 2;
constexpr uint32_t kCrowd = 32;
constexpr int kDepthMax = 16;
// Lines of points: a cell is not made so flat that there are more of them along an axis.
constexpr double kAlongMax = 1 << 20;

// Squared distance from a coordinate to an interval that may be off by `slack`.
double beyond(double at, double low, double high, double slack) {
  const double distance = std::max({low - at - slack, at - high - slack, 0.0});
  return distance * distance;
}


// A coordinate's cell. What is no number any more is in the first.
uint32_t cell_along(double value, double from, double per, uint32_t count) {
  const double cell = (value - from) * per;
  return cell > 0 ? static_cast<uint32_t>(std::min(cell, static_cast<double>(count - 1))) : 0;
}

// Least and greatest of some numbers, several at a time.
template <class Get>
std::pair<double, double> bounds(size_t begin, size_t end, const Get& get) {
  constexpr size_t kLanes = 8;
  double least[kLanes], greatest[kLanes];
  std::fill_n(least, kLanes, get(begin));
  std::fill_n(greatest, kLanes, get(begin));
  size_t k = begin;
  for (; k + kLanes <= end; k += kLanes) {
    for (size_t lane = 0; lane < kLanes; lane++) {
      const double value = get(k + lane);
      least[lane] = value < least[lane] ? value : least[lane];
      greatest[lane] = value > greatest[lane] ? value : greatest[lane];
    }
  }
  for (; k < end; k++) {
    least[0] = std::min(least[0], get(k));
    greatest[0] = std::max(greatest[0], get(k));
  }
  return {*std::min_element(least, least + kLanes), *std::max_element(greatest, greatest + kLanes)};
}

// Points as they were given.
struct Columns {
  std::span<const double> xs, ys;
  double x(size_t k) const { return xs[k]; }
  double y(size_t k) const { return ys[k]; }
  int32_t index(size_t k) const { return static_cast<int32_t>(k); }
};

}  // namespace

uint32_t PointGrid::Cells::column(double x) const { return cell_along(x, left, per_width, columns); }
uint32_t PointGrid::Cells::row(double y) const { return cell_along(y, bottom, per_height, rows); }

PointGrid::PointGrid(std::span<const double> x, std::span<const double> y) : points_(x.size()) {
  if (!x.empty()) cut(Columns{x, y}, 0, x.size(), 0);
}

// Points of a cell that is cut again.
struct PointGrid::Crowd {
  std::vector<Point> points;
  double x(size_t k) const { return points[k].x; }
  double y(size_t k) const { return points[k].y; }
  int32_t index(size_t k) const { return points[k].index; }
};

// Sorts points into `begin` … `end` by cells, and those of crowded cells into cells of their own; gives the number of the cells. `given` has them from 0 on.
template <class Points>
size_t PointGrid::cut(const Points& given, size_t begin, size_t end, int depth) {
  const auto [left, right] = bounds(0, end - begin, [&](size_t k) { return given.x(k); });
  const auto [bottom, top] = bounds(0, end - begin, [&](size_t k) { return given.y(k); });
  const double wide = right - left, high = top - bottom, many = static_cast<double>(end - begin) / kPointsPerCell;
  Cells cells{left, bottom, right, top, 0, 0, 0, 0, 0, 1, 1, starts_.size()};
  // Where differences are no numbers any more, or hardly any, there is one cell for all.
  if (std::isfinite(wide) && std::isfinite(high) && std::max(wide, high) / kAlongMax > DBL_MIN) {
    const double side = std::max({std::sqrt(wide / many) * std::sqrt(high), wide / std::min(many, kAlongMax), high / std::min(many, kAlongMax)});
    cells.columns = static_cast<uint32_t>(std::max(1.0, std::floor(wide / side)));
    cells.rows = static_cast<uint32_t>(std::max(1.0, std::floor(high / side)));
  }
  cells.width = wide / cells.columns;
  cells.height = high / cells.rows;
  cells.per_width = cells.columns > 1 ? cells.columns / wide : 0;
  cells.per_height = cells.rows > 1 ? cells.rows / high : 0;
  cells.slack = 16 * DBL_EPSILON * std::max({std::abs(left), std::abs(right), std::abs(bottom), std::abs(top)});
  const size_t number = cells_.size(), first = cells.first, count = cells.count();
  cells_.push_back(cells);
  sort_into(cells, given, begin, end);
  if (count == 1 || depth == kDepthMax) return number;
  for (size_t cell = first; cell < first + count; cell++) {
    const size_t from = starts_[cell], to = starts_[cell + 1];
    if (to - from <= kCrowd) continue;
    inner_[cell] = cut(Crowd{{points_.begin() + from, points_.begin() + to}}, from, to, depth + 1);
  }
  return number;
}

// Brings points into the order of the cells, and notes where each cell begins.
template <class Points>
void PointGrid::sort_into(const Cells& cells, const Points& given, size_t begin, size_t end) {
  std::vector<uint32_t> cell_of(end - begin);
  starts_.resize(cells.first + cells.count() + 1);
  uint32_t* const next = starts_.data() + cells.first;
  for (size_t k = 0; k < end - begin; k++) next[cell_of[k] = cells.row(given.y(k)) * cells.columns + cells.column(given.x(k))]++;
  // Counts become ends, and ends, as the points come in from behind, starts.
  uint32_t at = static_cast<uint32_t>(begin);
  for (size_t cell = 0; cell < cells.count(); cell++) next[cell] = at += next[cell];
  next[cells.count()] = at;
  for (size_t k = end - begin; k-- > 0;) points_[--next[cell_of[k]]] = {given.x(k), given.y(k), given.index(k)};
}

void PointGrid::nearest(double x, double y, uint32_t k, int32_t* index, double* squared, Found& found) const {
  found.clear();
  Query query{x, y, k, found};
  search(cells_[0], query);
  std::sort_heap(found.begin(), found.end());
  for (size_t i = 0; i < found.size(); i++) {
    squared[i] = found[i].first;
    index[i] = found[i].second;
  }
}

// Rings of cells around the query's, until what lies outside of them is farther than all that was found.
void PointGrid::search(const Cells& cells, Query& query) const {
  const auto& [x, y, k, found] = query;
  const int64_t columns = cells.columns, rows = cells.rows;
  const int64_t column = cells.column(x), row = cells.row(y);
  for (int64_t ring = 0;; ring++) {
    const int64_t left = column - ring, right = column + ring, bottom = row - ring, top = row + ring;
    if (ring > 0) {
      double outside = std::numeric_limits<double>::infinity();
      if (left >= 0) outside = std::min(outside, x - (cells.left + static_cast<double>(left + 1) * cells.width));
      if (right < columns) outside = std::min(outside, cells.left + static_cast<double>(right) * cells.width - x);
      if (bottom >= 0) outside = std::min(outside, y - (cells.bottom + static_cast<double>(bottom + 1) * cells.height));
      if (top < rows) outside = std::min(outside, cells.bottom + static_cast<double>(top) * cells.height - y);
      if (std::isinf(outside) && outside > 0) return;
      outside = std::max(0.0, outside - cells.slack);
      if (found.size() == k && outside * outside * (1 - 8 * DBL_EPSILON) > found.front().first) return;
    }
    for (int64_t j = std::max<int64_t>(0, bottom); j <= std::min(rows - 1, top); j++) {
      const bool edge = j == bottom || j == top;
      const int64_t step = edge || ring == 0 ? 1 : 2 * ring;
      for (int64_t i = left; i <= right; i += step) {
        if (i >= 0 && i < columns) visit(cells, static_cast<uint32_t>(i), static_cast<uint32_t>(j), query);
      }
    }
  }
}

void PointGrid::visit(const Cells& cells, uint32_t column, uint32_t row, Query& query) const {
  auto& [x, y, k, found] = query;
  const size_t cell = cells.first + size_t{row} * cells.columns + column;
  const size_t begin = starts_[cell], end = starts_[cell + 1];
  if (const auto crowd = end - begin > kCrowd ? inner_.find(cell) : inner_.end(); crowd != inner_.end()) {
    const Cells& inner = cells_[crowd->second];
    const double least = beyond(x, inner.left, inner.right, inner.slack) + beyond(y, inner.bottom, inner.top, inner.slack);
    if (found.size() < k || least * (1 - 8 * DBL_EPSILON) <= found.front().first) search(inner, query);
    return;
  }
  for (size_t i = begin; i < end; i++) {
    const double dx = points_[i].x - x, dy = points_[i].y - y;
    const std::pair<double, int32_t> candidate{dx * dx + dy * dy, points_[i].index};
    if (found.size() < k) {
      found.push_back(candidate);
      std::push_heap(found.begin(), found.end());
    } else if (candidate < found.front()) {
      std::pop_heap(found.begin(), found.end());
      found.back() = candidate;
      std::push_heap(found.begin(), found.end());
    }
  }
}

}  // namespace tc::points
