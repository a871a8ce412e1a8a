// What the example knows of elements.

export interface Element {
  readonly symbol: string
  readonly number: number
  /** On Pauling's scale. */
  readonly electronegativity: number
  /** Electrons that it gives or takes in most of its compounds. */
  readonly valence: number
  /** Å, of the ion with this valence and six neighbours: R. D. Shannon, Acta Cryst. A32 (1976) 751. Only of those that compounds are made of here. */
  readonly radius: number | undefined
  /** It takes electrons in compounds that are made here. */
  readonly isAnion: boolean
}

const CATIONS = `
  Li 3 0.98 1 0.76, Na 11 0.93 1 1.02, K 19 0.82 1 1.38, Rb 37 0.82 1 1.52, Cs 55 0.79 1 1.67, Ag 47 1.93 1 1.15, Tl 81 1.62 1 1.5, Cu 29 1.9 1, Au 79 2.54 1,
  Be 4 1.57 2 0.45, Mg 12 1.31 2 0.72, Ca 20 1 2 1, Sr 38 0.95 2 1.18, Ba 56 0.89 2 1.35, Zn 30 1.65 2 0.74, Cd 48 1.69 2 0.95, Pb 82 2.33 2 1.19, Mn 25 1.55 2 0.83, Co 27 1.88 2 0.745, Ni 28 1.91 2 0.69, Hg 80 2 2 1.02,
  Al 13 1.61 3 0.535, Ga 31 1.81 3 0.62, In 49 1.78 3 0.8, Sc 21 1.36 3 0.745, Y 39 1.22 3 0.9, La 57 1.1 3 1.032, Cr 24 1.66 3 0.615, Fe 26 1.83 3 0.645, Bi 83 2.02 3 1.03,
  Ti 22 1.54 4 0.605, Zr 40 1.33 4 0.72, Hf 72 1.3 4 0.71, Sn 50 1.96 4 0.69, Ge 32 2.01 4 0.53, Si 14 1.9 4 0.4, Ce 58 1.12 4 0.87, Th 90 1.3 4 0.94, U 92 1.38 4 0.89, Mo 42 2.16 4,
  Nb 41 1.6 5 0.64, Ta 73 1.5 5 0.64, W 74 2.36 6, Re 75 1.9 6`
const ANIONS = 'F 9 3.98 1 1.33, Cl 17 3.16 1 1.81, Br 35 2.96 1 1.96, I 53 2.66 1 2.2, O 8 3.44 2 1.4, S 16 2.58 2 1.84, Se 34 2.55 2 1.98, Te 52 2.1 2 2.21, N 7 3.04 3, C 6 2.55 4, As 33 2.18 3, Sb 51 2.05 3'

export const ELEMENTS: readonly Element[] = [[CATIONS, false] as const, [ANIONS, true] as const].flatMap(([text, isAnion]) => text.trim().split(/,\s*/).map((entry) => {
  const [symbol, number, electronegativity, valence, radius] = entry.split(' ')
  return { symbol: symbol!, number: Number(number), electronegativity: Number(electronegativity), valence: Number(valence), radius: radius === undefined ? undefined : Number(radius), isAnion }
}))
