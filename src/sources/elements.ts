/** Symbols by atomic number from 1, each with its electronegativity on the Pauling scale where it has one: what orders the atoms of a crystal. */
const TABLE = `
  H 2.2, He, Li 0.98, Be 1.57, B 2.04, C 2.55, N 3.04, O 3.44, F 3.98, Ne, Na 0.93, Mg 1.31, Al 1.61, Si 1.9,
  P 2.19, S 2.58, Cl 3.16, Ar, K 0.82, Ca 1, Sc 1.36, Ti 1.54, V 1.63, Cr 1.66, Mn 1.55, Fe 1.83, Co 1.88, Ni 1.91,
  Cu 1.9, Zn 1.65, Ga 1.81, Ge 2.01, As 2.18, Se 2.55, Br 2.96, Kr 3, Rb 0.82, Sr 0.95, Y 1.22, Zr 1.33, Nb 1.6, Mo 2.16,
  Tc 1.9, Ru 2.2, Rh 2.28, Pd 2.2, Ag 1.93, Cd 1.69, In 1.78, Sn 1.96, Sb 2.05, Te 2.1, I 2.66, Xe 2.6, Cs 0.79, Ba 0.89,
  La 1.1, Ce 1.12, Pr 1.13, Nd 1.14, Pm 1.13, Sm 1.17, Eu 1.2, Gd 1.2, Tb 1.1, Dy 1.22, Ho 1.23, Er 1.24, Tm 1.25, Yb 1.1,
  Lu 1.27, Hf 1.3, Ta 1.5, W 2.36, Re 1.9, Os 2.2, Ir 2.2, Pt 2.28, Au 2.54, Hg 2, Tl 1.62, Pb 2.33, Bi 2.02, Po 2,
  At 2.2, Rn 2.2, Fr 0.7, Ra 0.9, Ac 1.1, Th 1.3, Pa 1.5, U 1.38, Np 1.36, Pu 1.28, Am 1.3, Cm 1.3, Bk 1.3, Cf 1.3,
  Es 1.3, Fm 1.3, Md 1.3, No 1.3, Lr 1.3, Rf, Db, Sg, Bh, Hs, Mt, Ds, Rg, Cn,
  Nh, Fl, Mc, Lv, Ts, Og,
`

const entries = TABLE.trim().split(/,\s*/).filter((entry) => entry !== '').map((entry) => entry.split(' '))

export const SYMBOLS: readonly string[] = ['', ...entries.map(([symbol]) => symbol!)]

/** Infinity where the scale has no value. */
export const ELECTRONEGATIVITIES: readonly number[] = [NaN, ...entries.map(([, value]) => value === undefined ? Infinity : Number(value))]

const numbers = new Map(SYMBOLS.map((symbol, z) => [symbol, z] as const).slice(1))

/** Atomic number of a symbol written as it should be, or undefined. */
export function atomicNumber(symbol: string): number | undefined {
  return numbers.get(symbol)
}

/** What stands for an element without being its symbol: deuterium, and the hydrogen and oxygen of water. */
const ALIASES: readonly (readonly [pattern: RegExp, symbol: string])[] = [[/^D(?![A-Za-z])/, 'H'], [/^Hw/, 'H'], [/^(?:Ow|[Ww]at)/, 'O']]
/** NO and NH in capitals are not nobelium and nihonium: heavier elements than this must be written as they should be. */
const HEAVIEST_IN_CAPITALS = 98

/**
 * Atomic number meant by a type symbol or a label of a CIF: `Fe3+`, `O2-`, `CL`, `Na1A`, `D` (hydrogen), `Ow1`. Two letters that are an element come
 * before one, unless only the one is among the `known` elements of the compound: `HO5` is holmium only where there is some.
 */
export function elementOf(text: string, known?: ReadonlySet<number>): number | undefined {
  const exact = numbers.get(text)
  if (exact !== undefined) return exact
  for (const [pattern, symbol] of ALIASES) if (pattern.test(text)) return numbers.get(symbol)
  const [first, second] = [text.charAt(0).toUpperCase(), text.charAt(1)]
  const one = numbers.get(first)
  const two = second === '' ? undefined : numbers.get(first + second.toLowerCase())
  if (two === undefined || one === undefined) return two ?? one
  if (second !== second.toLowerCase() && two > HEAVIEST_IN_CAPITALS) return one
  return known !== undefined && known.has(one) && !known.has(two) ? one : two
}
