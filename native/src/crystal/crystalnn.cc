#include "crystalnn.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <stdexcept>
#include <string>
#include <tuple>

#include "elements.h"
#include "error.h"

namespace tc::crystal {
namespace {

// Facets seen under less than this part of the largest: rounding of a facet without area, or one whose weight cannot reach 0.0005 either way. Left out, since
// the porous adjustment would divide nothing by nothing.
constexpr double kNoFacet = 1e-9;
// The first shell around a site is made to hold about this many points: enough to close most cells.
constexpr double kFirstPoints = 35;
// Half the cube a cell is cut from, in cutoffs. The next one is tried when the cell reaches the cube, which most often means that it is open.
constexpr double kCubes[] = {4, 256, 16384};
constexpr double kLargestDifference = 3.3;  // of electronegativities, between two elements

// The area of a quarter of the unit disc between 0 and x.
double quarter_disc(double x) {
  if (x == 1) return 0.25 * std::numbers::pi;
  const double height = std::sqrt(1 - x * x);
  return 0.5 * (x * height + std::atan(x / height));
}

// How probable it is that the neighbours of weight `upper` and more are all: the part of a quarter disc between this and the next lower weight.
double score(int32_t upper, int32_t lower) { return (quarter_disc(upper / 1000.0) - quarter_disc(lower / 1000.0)) / (0.25 * std::numbers::pi); }

std::string symbol_error(int32_t number) { return "distance cutoffs need a radius of the element with the atomic number " + std::to_string(number) + ", and none is known"; }

}  // namespace

CrystalNNOptions cdvae_options() {
  CrystalNNOptions options;
  options.has_distance_cutoffs = false;
  options.x_diff_weight = -1;
  options.porous_adjustment = false;
  return options;
}

CrystalNN::CrystalNN(const CrystalNNOptions& options) : options_(options) {
  if (!std::isfinite(options.search_cutoff) || !(options.search_cutoff > 0)) throw std::invalid_argument("search_cutoff must be a length above 0 Å");
  if (!std::isfinite(options.x_diff_weight)) throw std::invalid_argument("x_diff_weight must be finite");
  if (options.has_distance_cutoffs && !(std::isfinite(options.cutoff_low) && std::isfinite(options.cutoff_high) && options.cutoff_low <= options.cutoff_high)) {
    throw std::invalid_argument("distance cutoffs must be two lengths in Å, the lower first");
  }
}

// The cell among the points within `cutoff`. They are fetched in shells and cut nearest first; what lies beyond twice the farthest vertex cannot
// change the cell, so that the cell among the points seen is the cell among all.
void CrystalNN::clip(const Periodic& periodic, size_t site, double cutoff, double half_width) {
  points_.clear();
  cell_.start(half_width);
  const double last2 = cutoff_squared(cutoff);
  const double density = static_cast<double>(periodic.sites()) / periodic.volume();
  double reach = std::cbrt(kFirstPoints / (density * 4 / 3 * std::numbers::pi)), inner2 = 0;
  for (;;) {
    const double outer2 = std::min(last2, reach * reach);
    const size_t before = points_.size();
    periodic.shell(site, inner2, outer2, points_);
    order_.clear();
    for (size_t k = before; k < points_.size(); k++) order_.push_back({points_[k].distance2, static_cast<uint32_t>(k)});
    std::sort(order_.begin(), order_.end());
    for (const auto& [distance2, k] : order_) {
      if (distance2 > cell_.security2()) break;
      cell_.cut(points_[k].x, points_[k].y, points_[k].z, static_cast<int32_t>(k));
    }
    if (outer2 >= last2 || outer2 > cell_.security2()) break;
    inner2 = outer2;
    reach = std::max(reach * 1.3, std::min(std::sqrt(cell_.security2()) * (1 + 1e-12), reach * 1.6));
  }
  if (cell_.full()) throw CrystalError(Fault::TooManyPoints, "the Voronoi cell of atom " + std::to_string(site) + " has more than 32768 vertices");
}

void CrystalNN::faces(const Periodic& periodic, size_t site, std::vector<Face>& out) {
  out.clear();
  const double longest = periodic.longest_diagonal() + 0.01;
  for (double cutoff = options_.search_cutoff;; cutoff = std::min(cutoff * 2, longest + 0.001)) {
    bool closed = false;
    for (const double cube : kCubes) {
      clip(periodic, site, cutoff, cube * cutoff);
      closed = cell_.closed();
      if (closed) break;
    }
    if (closed) break;
    if (cutoff >= longest) throw CrystalError(Fault::Unbounded, "the Voronoi cell of atom " + std::to_string(site) + " is not closed within " + std::to_string(cutoff) + " Å");
  }
  for (const VoronoiCell::Facet& facet : cell_.facets()) {
    const Neighbour& neighbour = points_[facet.point];
    const double distance = std::sqrt(neighbour.distance2) / 2;
    const auto [solid_angle, area] = cell_.measure(facet, distance);
    // A cut that rounding took apart has given its facet in parts, one after the other.
    if (!out.empty() && out.back().neighbour.site == neighbour.site && out.back().neighbour.image == neighbour.image) {
      out.back().solid_angle += solid_angle;
      out.back().area += area;
      out.back().vertices += facet.count;
    } else {
      out.push_back({neighbour, solid_angle, area, distance, facet.count});
    }
  }
}

void CrystalNN::weigh(const Structure& structure, size_t site) {
  const int32_t number = structure.numbers[site];
  const std::span<const double> oxidation = structure.oxidation;
  weighted_.clear();
  double largest = 0;
  for (const Face& face : faces_) {
    if (options_.cation_anion && oxidation[face.neighbour.site] * oxidation[site] > 0) continue;
    largest = std::max(largest, face.solid_angle);
    weighted_.push_back({&face, face.solid_angle, 0});
  }
  if (!(largest > 0)) throw CrystalError(Fault::NoTargets, "no facet of the Voronoi cell of atom " + std::to_string(site) + " belongs to a possible neighbour");
  std::erase_if(weighted_, [&](const Weighted& entry) { return entry.weight < kNoFacet * largest; });

  double highest = 0;
  for (Weighted& entry : weighted_) {
    const Face& face = *entry.face;
    entry.weight /= largest;
    if (options_.porous_adjustment) entry.weight *= face.solid_angle / face.area;
    if (options_.x_diff_weight > 0) {
      const double difference = std::abs(electronegativity(number) - electronegativity(structure.numbers[face.neighbour.site]));
      if (!std::isnan(difference)) entry.weight *= 1 + options_.x_diff_weight * std::sqrt(difference / kLargestDifference);
    }
    highest = std::max(highest, entry.weight);
  }
  for (Weighted& entry : weighted_) entry.weight /= highest;

  if (options_.has_distance_cutoffs) {
    const double own = oxidation.empty() ? 0 : oxidation[site] == 0 ? covalent_radius(number) : ionic_radius(number, oxidation[site]);
    for (Weighted& entry : weighted_) {
      const int32_t other_site = entry.face->neighbour.site, other_number = structure.numbers[other_site];
      const double other = oxidation.empty() ? 0 : oxidation[other_site] == 0 ? covalent_radius(other_number) : ionic_radius(other_number, oxidation[other_site]);
      double sum = own + other;
      if (!(own > 0 && other > 0)) {
        const double own_covalent = covalent_radius(number), other_covalent = covalent_radius(other_number);
        if (own_covalent == 0) throw CrystalError(Fault::Element, symbol_error(number));
        if (other_covalent == 0) throw CrystalError(Fault::Element, symbol_error(other_number));
        sum = own_covalent + other_covalent;
      }
      const double distance = std::sqrt(entry.face->neighbour.distance2), low = sum + options_.cutoff_low, high = sum + options_.cutoff_high;
      if (distance <= low) continue;
      entry.weight *= distance < high ? (std::cos((distance - low) / (high - low) * std::numbers::pi) + 1) * 0.5 : 0;
    }
  }
  for (Weighted& entry : weighted_) entry.thousandths = static_cast<int32_t>(std::nearbyint(entry.weight * 1000));
  std::erase_if(weighted_, [](const Weighted& entry) { return entry.thousandths <= 0; });
  std::sort(weighted_.begin(), weighted_.end(), [](const Weighted& p, const Weighted& q) {
    return p.thousandths != q.thousandths ? p.thousandths > q.thousandths : p.face < q.face;
  });
}

void CrystalNN::near(const Structure& structure, const Periodic& periodic, size_t site, std::vector<Bond>& out) {
  out.clear();
  if (options_.cation_anion && structure.oxidation.empty()) throw CrystalError(Fault::NoTargets, "cation_anion needs oxidation states");
  faces(periodic, site, faces_);
  weigh(structure, site);

  // Coordination numbers are the ranks at which the weight falls; none at all gets what is left of the probability.
  double total = 0, best = 0;
  size_t best_count = 0;
  for (size_t k = 0, end = 0; k < weighted_.size(); k = end) {
    while (end < weighted_.size() && weighted_[end].thousandths == weighted_[k].thousandths) end++;
    const double value = score(weighted_[k].thousandths, end < weighted_.size() ? weighted_[end].thousandths : 0);
    total += value;
    if (value > best) {
      best = value;
      best_count = end;
    }
    // Probability that this group belongs to the neighbours: that of this coordination number and all greater ones.
    if (options_.weighted_cn) {
      for (size_t n = k; n < end; n++) weighted_[n].weight = 0;
      for (size_t n = 0; n < end; n++) weighted_[n].weight += value;
    }
  }
  const size_t count = options_.weighted_cn ? weighted_.size() : 1 - total > best ? 0 : best_count;
  for (size_t k = 0; k < count; k++) {
    const Neighbour& neighbour = weighted_[k].face->neighbour;
    Bond bond{neighbour.site, {}, options_.weighted_cn ? weighted_[k].weight : 1};
    for (int axis = 0; axis < 3; axis++) {
      // −32768 has no opposite, and every edge is listed both ways.
      if (std::abs(static_cast<int64_t>(neighbour.image[axis])) > INT16_MAX) throw CrystalError(Fault::ImageRange, "a neighbour of atom " + std::to_string(site) + " lies in an image beyond int16");
      bond.image[axis] = static_cast<int16_t>(neighbour.image[axis]);
    }
    out.push_back(bond);
  }
  std::sort(out.begin(), out.end(), [](const Bond& p, const Bond& q) { return p.target != q.target ? p.target < q.target : p.image < q.image; });
}

void CrystalNN::append(const Structure& structure, Edges& edges) {
  exact_.assign(structure.lattice, structure.frac);
  periodic_.prepare(structure);
  found_.clear();
  for (size_t site = 0; site < structure.atoms(); site++) {
    near(structure, periodic_, site, bonds_);
    const auto source = static_cast<int32_t>(site);
    for (const Bond& bond : bonds_) {
      const auto [x, y, z] = bond.image;
      found_.push_back({source, bond.target, bond.image, bond.weight});
      found_.push_back({bond.target, source, {static_cast<int16_t>(-x), static_cast<int16_t>(-y), static_cast<int16_t>(-z)}, bond.weight});
    }
  }
  const auto key = [](const Edge& edge) { return std::tie(edge.source, edge.target, edge.image); };
  // Stable, so that of equal edges the one found first stays.
  std::stable_sort(found_.begin(), found_.end(), [&](const Edge& p, const Edge& q) { return key(p) < key(q); });
  found_.erase(std::unique(found_.begin(), found_.end(), [&](const Edge& p, const Edge& q) { return key(p) == key(q); }), found_.end());
  edges.reserve(edges.size + found_.size());
  for (const Edge& edge : found_) {
    std::array<int64_t, 3> wrapped;
    for (int k = 0; k < 3; k++) wrapped[k] = edge.image[k] + exact_.cells[edge.target][k] - exact_.cells[edge.source][k];
    if (edges.weighted()) edges.weight.data()[edges.size] = static_cast<float>(edge.weight);
    edges.put(edge.source, edge.target, edge.image, exact_.displacement(edge.source, edge.target, wrapped));
  }
}

}  // namespace tc::crystal
