"""pymatgen's way from CIF text to CrystalNN edges, a batched radius graph in torch, and graphs in files of flat arrays and of tensors."""
import csv
import hashlib
import warnings
from concurrent.futures import ProcessPoolExecutor
from time import perf_counter

from serve import found, need, serve

np = need("numpy")
torch, pymatgen = found("torch"), found("pymatgen.core")
if pymatgen:
    from pymatgen.analysis.graphs import StructureGraph
    from pymatgen.analysis.local_env import CrystalNN
    from pymatgen.core import Lattice, Structure, __version__ as pymatgen_version
    pymatgen.__version__ = pymatgen_version
if torch:
    torch.set_num_threads(1)

warnings.filterwarnings("ignore")


def rows(path, count):
    with open(path, newline="") as file:
        return [row["cif"] for _, row in zip(range(count), csv.DictReader(file))]


def graph(cif):
    """As CDVAE makes them: Niggli cell, rebuilt from its parameters, CrystalNN without distance cutoffs. Edges of both directions, sorted."""
    reduced = Structure.from_str(cif, fmt="cif").get_reduced_structure()
    structure = Structure(Lattice.from_parameters(*reduced.lattice.parameters), reduced.species, reduced.frac_coords)
    near = CrystalNN(distance_cutoffs=None, x_diff_weight=-1, porous_adjustment=False)
    edges = set()
    for i, j, link in StructureGraph.with_local_env_strategy(structure, near).graph.edges(data=True):
        image = tuple(int(x) for x in link["to_jimage"])
        edges.add((i, j, *image))
        edges.add((j, i, *(-x for x in image)))
    return sorted(edges)


def digest(edges):
    return hashlib.sha256(np.array(edges, dtype="<i4").reshape(-1, 5).tobytes()).hexdigest()


def graphs(path, count, processes):
    """Seconds, and a digest of each structure's edges."""
    began = perf_counter()
    cifs = rows(path, count)
    if processes == 1:
        made = [graph(cif) for cif in cifs]
    else:
        with ProcessPoolExecutor(processes) as pool:
            made = list(pool.map(graph, cifs, chunksize=8))
    return {"seconds": perf_counter() - began, "digests": [digest(edges) for edges in made]}


flat = {}


def keep(frac, lattice, offsets):
    """Structures for `radius`, from .npy files."""
    flat["frac"], flat["lattice"], flat["offsets"] = (np.load(path) for path in (frac, lattice, offsets))
    return len(flat["lattice"])


def radius(cutoff, batch):
    """All pairs of atoms of each structure over 27 images, a batch of structures at a time, as batched graph code for crystals does it: seconds and edges."""
    cells = torch.tensor([[i, j, k] for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)], dtype=torch.float32)
    offsets = torch.from_numpy(flat["offsets"].astype(np.int64))
    frac = torch.from_numpy(flat["frac"].astype(np.float32))
    lattice = torch.from_numpy(flat["lattice"].astype(np.float32))
    edges = 0
    began = perf_counter()
    for first in range(0, len(lattice), batch):
        last = min(len(lattice), first + batch)
        counts = offsets[first + 1:last + 1] - offsets[first:last]
        at = torch.repeat_interleave(torch.arange(last - first), counts)
        positions = torch.einsum("ni,nij->nj", frac[offsets[first]:offsets[last]], lattice[first:last][at])
        squares = counts * counts
        start = torch.repeat_interleave(offsets[first:last] - offsets[first], squares)
        size = torch.repeat_interleave(counts, squares)
        pair = torch.arange(int(squares.sum())) - torch.repeat_interleave(torch.cumsum(squares, 0) - squares, squares)
        source = torch.div(pair, size, rounding_mode="floor") + start
        target = pair % size + start
        shifts = torch.einsum("ci,bij->bcj", cells, lattice[first:last])
        vectors = positions[target][:, None] + shifts[at[source]] - positions[source][:, None]
        distance = (vectors ** 2).sum(-1)
        mask = (distance <= cutoff * cutoff) & (distance > 1e-4)
        pairs, images = mask.nonzero(as_tuple=True)
        found = (source[pairs], target[pairs], cells[images], distance[mask].sqrt(), vectors[mask])
        edges += len(found[0])
    return {"seconds": perf_counter() - began, "edges": edges}


def save(folder, files, count):
    """Our graphs, as one torch file per structure would hold them, in one file: what people cache."""
    arrays = {name: torch.from_numpy(np.load(f"{folder}/{name}.npy")) for name in files}
    atoms, edges = arrays["atom_offsets"], arrays["edge_offsets"]
    items = []
    for k in range(count):
        item = {}
        for name, array in arrays.items():
            if name in ("atom_offsets", "edge_offsets"):
                continue
            offsets = atoms if name in ("numbers", "frac_coords") else edges if name.startswith("edge_") else None
            item[name] = array[k].clone() if offsets is None else array[int(offsets[k]):int(offsets[k + 1])].clone()
        items.append(item)
    torch.save(items, f"{folder}/graphs.pt")
    return count


def load_torch(folder):
    began = perf_counter()
    items = torch.load(f"{folder}/graphs.pt")
    assert len(items) > 0
    return perf_counter() - began


def load_numpy(folder, files):
    began = perf_counter()
    for name in files:
        np.load(f"{folder}/{name}.npy")
    return perf_counter() - began


serve([pymatgen and graphs, keep, torch and radius, torch and save, torch and load_torch, load_numpy], np, torch, pymatgen)
