#!/usr/bin/env python3
"""Writes test/fixtures/crystals: CIFs of well-known structures from published lattice constants, and goldens.json with what pymatgen makes of them.

Run with pymatgen 2022.11.7: /usr/bin/python3 scripts/make-crystal-fixtures.py
"""
import json
import shutil
import warnings
from pathlib import Path

import pymatgen.core
from pymatgen.io.cif import CifParser
from pymatgen.symmetry.groups import SpaceGroup

ROOT = Path(__file__).resolve().parent.parent / "test" / "fixtures" / "crystals"
SITES = ["label", "type_symbol", "fract_x", "fract_y", "fract_z", "occupancy"]
CELL = ["length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma"]


def cif(group, cell, sites, columns=SITES, tag="_symmetry_equiv_pos_as_xyz", more=""):
    operations = [op.as_xyz_string() for op in SpaceGroup(group).symmetry_ops]
    lines = [f"_cell_{name}  {value}" for name, value in zip(CELL, cell.split())]
    lines += [f"_symmetry_space_group_name_H-M  '{group}'", *more.splitlines(), "loop_", tag]
    lines += [f"  '{op}'" for op in operations]
    lines += ["loop_", *(f" _atom_site_{name}" for name in columns), *(f"  {site}" for site in sites)]
    return "\n".join(lines) + "\n"


STATES = "loop_\n _atom_type_symbol\n _atom_type_oxidation_number\n"
SODIUM_CHLORIDE = cif("Fm-3m", "5.6402(3) 5.6402(3) 5.6402(3) 90 90 90", ["Na1 Na 0 0 0 1", "Cl1 Cl .5 .5 .5 1.0"])
FILES = {
    "rock_salt": "# a comment\ndata_NaCl # and another\n" + SODIUM_CHLORIDE,
    "diamond_crlf": ("data_C\n" + cif("Fd-3m", "3.567 3.567 3.567 90.00 90.00 90.00", ["C1 C 0.125 0.125 0.125 1"])).replace("\n", "\r\n"),
    "wurtzite": "data_ZnO\n" + cif("P6_3mc", "3.25 3.25 5.2066(1) 90 90 120", ["Zn1 Zn2+ 0.3333 0.6667 0 1", "O1 O2- 0.33333 0.66667 0.3819(2) 1."]),
    "baddeleyite": "data_ZrO2\n_publ_section_title\n;\nA text field with 'quotes', _tags and\nloop_\n;\n" + cif(
        "P2_1/c", "5.1505(1) 5.2116(1) 5.3173(1) 90 99.230(1) 90",
        ["Zr1 Zr4+ 0.2754(2) 0.0395(2) 0.2083(2) 1", "O1 O2- 0.0700(14) 0.3317(12) 0.3447(11) 1", "O2 O2- 0.4496(15) 0.7569(15) 0.4792(12) 1"],
        more=STATES + "Zr4+ 4\nO2- -2\n", tag="_space_group_symop_operation_xyz"),
    "magnetite": "data_Fe3O4\n" + cif(
        "Fd-3m", "8.3941(7) 8.3941(7) 8.3941(7) 90 90 90", ["Fe1 Fe3+ 0.125 0.125 0.125 1", "Fe2 Fe2+ 0.5 0.5 0.5 1", "O1 O2- 0.2549(1) 0.2549(1) 0.2549(1) 1"],
        more=STATES + "Fe3+ 3\nFe2+ 2\nO2- -2\n"),
    "quartz": "data_SiO2\n" + cif("P3_221", "4.9137(3) 4.9137(3) 5.4047(3) 90 90 120", ["Si Si 0.4697(1) 0.00000 0.00000 1", "O O 0.4135(3) 0.2669(2) 0.1191(2) 1"]),
    "columns_in_another_order": "data_Si\n" + cif("Fd-3m", "5.43 5.43 5.43 90 90 90", ["1 0.25 Si1 Si 0.25 0.25"], ["occupancy", "fract_x", "label", "type_symbol", "fract_z", "fract_y"]),
    "labels_only_triclinic": "data_x\n" + cif("P-1", "4.1 4.2 4.3 88 91.5 95.2", ["CL1 0.1 0.2 0.3", "Na2A 0.6 0.7 0.8", "H1 0.3 0.9 -0.05"], ["label", "fract_x", "fract_y", "fract_z"]),
    "vacancies_and_mixing": "data_x\n" + cif("Pm-3m", "4 4 4 90 90 90", ["Sr1 Sr 0 0 0 .7", "La1 La 0 0 0 .3", "Ti1 Ti .5 .5 .5 1", "O1 O .5 .5 0 .9"]),
    "twice_the_same_atom": "data_x\n" + cif("Pm-3m", "4 4 4 90 90 90", ["Cs1 Cs 0 0 0 1", "Cs2 Cs 0 0 0.00005 1"]),
}

warnings.simplefilter("ignore")
shutil.rmtree(ROOT, ignore_errors=True)
ROOT.mkdir(parents=True)
goldens = {}
for name, text in FILES.items():
    path = ROOT / f"{name}.cif"
    path.write_bytes(text.encode())
    try:
        structure = CifParser(str(path)).get_structures(primitive=False)[0]
    except ValueError:
        goldens[name] = "refused"
        continue
    if not structure.is_ordered:
        goldens[name] = "disordered"
        continue
    goldens[name] = {
        "numbers": [site.specie.Z for site in structure],
        "frac_coords": structure.frac_coords.ravel().tolist(),
        "lattice": structure.lattice.matrix.ravel().tolist(),
    }
(ROOT / "goldens.json").write_text(json.dumps({"pymatgen": pymatgen.core.__version__, "crystals": goldens}, indent=1) + "\n")
