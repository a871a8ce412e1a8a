#include "voronoi.h"

#include <algorithm>
#include <cmath>

namespace tc::crystal {
namespace {

// A vertex this far beyond a plane (relative to the lengths multiplied) is on it: some hundred roundings.
constexpr double kOnPlane = 1e-13;
// A cut adds fewer than half as many vertices as there are, and identifiers have 16 bits.
constexpr size_t kMostVertices = 1 << 15;

}  // namespace

void VoronoiCell::start(double half_width) {
  const double w = half_width;
  static constexpr int corners[8][3] = {{-1, -1, -1}, {1, -1, -1}, {1, 1, -1}, {-1, 1, -1}, {-1, -1, 1}, {1, -1, 1}, {1, 1, 1}, {-1, 1, 1}};
  // Counterclockwise from outside, as every facet stays from here on.
  static constexpr uint16_t sides[6][4] = {{0, 3, 2, 1}, {4, 5, 6, 7}, {0, 1, 5, 4}, {2, 3, 7, 6}, {1, 2, 6, 5}, {0, 4, 7, 3}};
  slots_ = 0;
  unused_.clear();
  for (const auto& corner : corners) place(corner[0] * w, corner[1] * w, corner[2] * w);
  facets_.clear();
  if (loops_.size() < 24) loops_.resize(24);
  for (uint32_t side = 0; side < 6; side++) {
    facets_.push_back({-1 - static_cast<int32_t>(side), side * 4, 4});
    std::copy(sides[side], sides[side] + 4, loops_.begin() + side * 4);
  }
  used_ = 24;
  full_ = false;
  farthest2_ = 3 * w * w;
}

uint16_t VoronoiCell::place(double x, double y, double z) {
  uint16_t id;
  if (!unused_.empty()) {
    id = unused_.back();
    unused_.pop_back();
  } else {
    id = static_cast<uint16_t>(slots_++);
    if (slots_ > x_.size()) {
      const size_t room = std::max<size_t>(64, x_.size() * 2);
      x_.resize(room);
      y_.resize(room);
      z_.resize(room);
      beyond_.resize(room);
    }
  }
  x_[id] = x;
  y_[id] = y;
  z_[id] = z;
  return id;
}

// The new vertex on the edge between a vertex that stays and one that is cut off; both facets at the edge ask for it.
int32_t VoronoiCell::split(uint16_t kept, uint16_t lost) {
  const uint32_t key = static_cast<uint32_t>(kept) << 16 | lost;
  for (size_t k = cut_edges_.size(); k-- > 0;) {
    if (cut_edges_[k].key == key) return static_cast<int32_t>(k);
  }
  // A vertex on the plane may lie beyond it by a rounding: then the new one is put upon it.
  const double in = std::min(beyond_[kept], 0.0), t = in / (in - beyond_[lost]);
  const uint16_t id = place(x_[kept] + t * (x_[lost] - x_[kept]), y_[kept] + t * (y_[lost] - y_[kept]), z_[kept] + t * (z_[lost] - z_[kept]));
  cut_edges_.push_back({key, id, -1});
  return static_cast<int32_t>(cut_edges_.size() - 1);
}

bool VoronoiCell::cut(double x, double y, double z, int32_t point) {
  const double square = x * x + y * y + z * z, half = square / 2;
  const double on = kOnPlane * std::sqrt(square * farthest2_);
  const size_t before = slots_;
  double most = -1;
  {
    const double *vx = x_.data(), *vy = y_.data(), *vz = z_.data();
    double* beyond = beyond_.data();
    for (size_t v = 0; v < before; v++) beyond[v] = x * vx[v] + y * vy[v] + z * vz[v] - half;
    for (size_t v = 0; v < before; v++) most = beyond[v] > most ? beyond[v] : most;
  }
  if (most <= on) return false;
  if (slots_ > kMostVertices) {
    full_ = true;
    return false;
  }

  cut_edges_.clear();
  next_facets_.clear();
  // A facet of n vertices becomes at most 2n long, and the new one has as many vertices as edges were cut.
  if (next_loops_.size() < used_ * 3) next_loops_.resize(used_ * 4);
  uint16_t* to = next_loops_.data();
  for (const Facet& facet : facets_) {
    const uint16_t* loop = loops_.data() + facet.first;
    uint16_t* const begin = to;
    // Where the loop leaves the part that stays (exit) and where it comes back (entry); the new facet runs from entry to exit.
    int32_t open_exit = -1, first_entry = -1;
    uint16_t previous = loop[facet.count - 1];
    bool previous_lost = beyond_[previous] > on;
    for (uint32_t k = 0; k < facet.count; k++) {
      const uint16_t current = loop[k];
      const bool lost = beyond_[current] > on;
      if (lost != previous_lost) {
        const int32_t edge = lost ? split(previous, current) : split(current, previous);
        *to++ = cut_edges_[edge].id;
        if (lost) {
          open_exit = edge;
        } else if (open_exit >= 0) {
          cut_edges_[edge].next = open_exit;
          open_exit = -1;
        } else {
          first_entry = edge;
        }
      }
      if (!lost) *to++ = current;
      previous = current;
      previous_lost = lost;
    }
    if (first_entry >= 0) cut_edges_[first_entry].next = open_exit;
    if (to != begin) next_facets_.push_back({facet.point, static_cast<uint32_t>(begin - next_loops_.data()), static_cast<uint32_t>(to - begin)});
  }
  // One loop, or by rounding several that lie upon one another.
  for (CutEdge& start : cut_edges_) {
    if (start.next < 0) continue;
    uint16_t* const begin = to;
    for (CutEdge* edge = &start; edge->next >= 0;) {
      *to++ = edge->id;
      const int32_t next = edge->next;
      edge->next = -1;
      edge = &cut_edges_[next];
    }
    next_facets_.push_back({point, static_cast<uint32_t>(begin - next_loops_.data()), static_cast<uint32_t>(to - begin)});
  }
  used_ = static_cast<size_t>(to - next_loops_.data());
  facets_.swap(next_facets_);
  loops_.swap(next_loops_);

  for (size_t v = 0; v < before; v++) {
    if (!(beyond_[v] > on)) continue;
    x_[v] = y_[v] = z_[v] = 0;
    unused_.push_back(static_cast<uint16_t>(v));
  }
  farthest2_ = 0;
  for (size_t v = 0; v < slots_; v++) {
    const double distance2 = x_[v] * x_[v] + y_[v] * y_[v] + z_[v] * z_[v];
    farthest2_ = distance2 > farthest2_ ? distance2 : farthest2_;
  }
  return true;
}

bool VoronoiCell::closed() const {
  return std::none_of(facets_.begin(), facets_.end(), [](const Facet& facet) { return facet.point < 0; });
}

void VoronoiCell::vertex(const Facet& facet, uint32_t k, double* xyz) const {
  const uint16_t id = loops_[facet.first + k];
  xyz[0] = x_[id];
  xyz[1] = y_[id];
  xyz[2] = z_[id];
}

// A. van Oosterom, J. Strackee, IEEE Trans. Biomed. Eng. 30 (1983) 125: tan(Ω/2) = triple product / denominator for a triangle. Ω/2 is the
// argument of a complex number, so the arguments of a fan are added by multiplying the numbers; a convex facet that does not hold the
// origin is seen under less than 2π, so their sum stays below π. (pymatgen adds up arcus tangents and takes one of exactly 0 for π: a
// triangle whose points lie on a line to the last bit gets 2π there. No site of the reference sets does.)
VoronoiCell::Measure VoronoiCell::measure(const Facet& facet, double distance) const {
  const uint16_t* loop = loops_.data() + facet.first;
  const double ax = x_[loop[0]], ay = y_[loop[0]], az = z_[loop[0]], a = std::sqrt(ax * ax + ay * ay + az * az);
  double bx = x_[loop[1]], by = y_[loop[1]], bz = z_[loop[1]], b = std::sqrt(bx * bx + by * by + bz * bz);
  double re = 1, im = 0, six_volumes = 0;
  for (uint32_t k = 2; k < facet.count; k++) {
    const double cx = x_[loop[k]], cy = y_[loop[k]], cz = z_[loop[k]], c = std::sqrt(cx * cx + cy * cy + cz * cz);
    const double triple = std::abs(ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx));
    const double below = a * b * c + c * (ax * bx + ay * by + az * bz) + b * (ax * cx + ay * cy + az * cz) + a * (bx * cx + by * cy + bz * cz);
    const double scale = 0.25 / (a * b * c);  // so that a small triangle multiplies by about 1
    const double p = below * scale, q = triple * scale, product = re * p - im * q;
    im = re * q + im * p;
    re = product;
    six_volumes += triple;
    bx = cx;
    by = cy;
    bz = cz;
    b = c;
  }
  const double half = std::atan2(im, re);
  return {half < 0 ? 0 : 2 * half, six_volumes / (2 * distance)};
}

}  // namespace tc::crystal
