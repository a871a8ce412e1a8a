// The nearest of many points of a plane: cells of a few points each, which are cut again where points lie close together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

namespace tc::points {

class PointGrid {
 public:
  // Finite coordinates of less than 2^31 points.
  PointGrid(std::span<const double> x, std::span<const double> y);

  size_t size() const { return points_.size(); }

  // What a search keeps: squared distance and index, the farthest first.
  using Found = std::vector<std::pair<double, int32_t>>;

  // The k points nearest to a place, nearest first; k from 1 to size(). Squared distances are (x - x0)² + (y - y0)² in doubles, each operation rounded once; of equal ones the lower index
  // is nearer. `found` is scratch.
  void nearest(double x, double y, uint32_t k, int32_t* index, double* squared, Found& found) const;

 private:
  struct Point {
    double x, y;
    int32_t index;
  };
  struct Cells {
    double left, bottom, right, top;
    // Of a cell, and cells per length.
    double width, height;
    double per_width, per_height;
    // How far from its cell's edge rounding may have put a point.
    double slack;
    uint32_t columns, rows;
    // Of its cells in starts_; there is one more start.
    size_t first;

    uint32_t column(double x) const;
    uint32_t row(double y) const;
    size_t count() const { return size_t{columns} * rows; }
  };
  struct Crowd;
  struct Query {
    double x, y;
    size_t k;
    Found& found;
  };

  template <class Points> size_t cut(const Points& given, size_t begin, size_t end, int depth);
  template <class Points> void sort_into(const Cells& cells, const Points& given, size_t begin, size_t end);
  void search(const Cells& cells, Query& query) const;
  void visit(const Cells& cells, uint32_t column, uint32_t row, Query& query) const;

  // In the order of the cells.
  std::vector<Point> points_;
  std::vector<Cells> cells_;
  std::vector<uint32_t> starts_;
  // The cells that a crowded cell was cut into, by its place in starts_.
  std::unordered_map<size_t, size_t> inner_;
};

}  // namespace tc::points
