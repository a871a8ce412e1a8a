// CrystalNN: near neighbours of a site from the solid angles of its Voronoi cell. N. E. R. Zimmermann, A. Jain, RSC Adv. 10 (2020) 6063;
// H. Pan et al., Inorg. Chem. 60 (2021) 1590. Agrees with pymatgen's analysis.local_env.CrystalNN neighbour by neighbour.
#pragma once

#include "edges.h"
#include "periodic.h"
#include "voronoi.h"

namespace tc::crystal {

// pymatgen's defaults. CDVAE and its successors have x_diff_weight = -1 and neither distance cutoffs nor the porous adjustment.
struct CrystalNNOptions {
  bool weighted_cn = false;   // every possible neighbour with the probability that it is one, instead of the most probable set
  bool cation_anion = false;  // only neighbours of the opposite (or no) charge; needs oxidation states
  bool has_distance_cutoffs = true;
  double cutoff_low = 0.5, cutoff_high = 1;  // Å beyond the sum of radii: weights fall from 1 to 0 between them
  double x_diff_weight = 3.0;                // of the difference of electronegativities; 0 or less: none
  bool porous_adjustment = true;
  double search_cutoff = 7;  // Å; the points of the Voronoi construction, doubled while the cell is open
};

CrystalNNOptions cdvae_options();

struct Bond {
  int32_t target;
  std::array<int16_t, 3> image;  // of the target; the vector is (frac[target] + image − frac[site]) · lattice
  double weight;                 // 1, or with weighted_cn its probability
  bool operator==(const Bond&) const = default;
};

// One facet of a site's Voronoi cell.
struct Face {
  Neighbour neighbour;
  double solid_angle, area, distance;  // sr, Å², Å from the site to the facet
  uint32_t vertices;
};

// Goes through structures; keeps its memory.
class CrystalNN {
 public:
  // Throws std::invalid_argument.
  explicit CrystalNN(const CrystalNNOptions& options);

  // Appends the directed edges of a structure: a bond found from either end is listed in both directions, once each. As pymatgen's StructureGraph does, a
  // bond found from both ends keeps the weight of the end with the smaller index.
  // Throws CrystalError, and leaves `edges` as it was.
  void append(const Structure& structure, Edges& edges);

  // Near neighbours of one site, sorted by (target, image).
  void near(const Structure& structure, const Periodic& periodic, size_t site, std::vector<Bond>& out);

  // Faces of the Voronoi cell of one site, nearest neighbour first.
  void faces(const Periodic& periodic, size_t site, std::vector<Face>& out);

 private:
  struct Weighted {
    const Face* face;
    double weight;
    int32_t thousandths;  // of the weight, rounded
  };
  struct Edge {
    int32_t source, target;
    std::array<int16_t, 3> image;
    double weight;
  };
  void clip(const Periodic& periodic, size_t site, double cutoff, double half_width);
  void weigh(const Structure& structure, size_t site);

  CrystalNNOptions options_;
  ExactCell exact_;
  Periodic periodic_;
  VoronoiCell cell_;
  std::vector<Neighbour> points_;
  std::vector<std::pair<double, uint32_t>> order_;
  std::vector<Face> faces_;
  std::vector<Weighted> weighted_;
  std::vector<Bond> bonds_;
  std::vector<Edge> found_;
};

}  // namespace tc::crystal
