import { brief } from './brief.js'
import { BLOCK, CifTokens, END, LOOP, TAG, VALUE, type Token, type Where } from './cif-tokens.js'

/** The gate of CIF 1.1 text: which tags are read, and limits of what a text may ask for. */
const WANTED = new Set([
  ...['length_a', 'length_b', 'length_c', 'angle_alpha', 'angle_beta', 'angle_gamma', 'modulation_dimension'].map((name) => `_cell_${name}`),
  ...['label', 'type_symbol', 'fract_x', 'fract_y', 'fract_z', 'cartn_x', 'cartn_y', 'cartn_z', 'occupancy', 'calc_flag'].map((name) => `_atom_site_${name}`),
  ...[11, 12, 13, 21, 22, 23, 31, 32, 33].map((place) => `_atom_sites_cartn_tran_matrix_${place}`),
  ...[1, 2, 3].map((place) => `_atom_sites_cartn_tran_vector_${place}`),
  '_atom_type_symbol', '_atom_type_oxidation_number', '_chemical_formula_sum',
  '_symmetry_equiv_pos_as_xyz', '_space_group_symop_operation_xyz', '_space_group_symop_magn_operation_xyz',
  '_symmetry_space_group_name_h-m', '_space_group_name_h-m_alt', '_symmetry_space_group_name_hall', '_space_group_name_hall',
  '_symmetry_int_tables_number', '_space_group_it_number',
])
/** The rows of one loop that are kept. Loops without a wanted tag (reflections, profiles) may be as long as the text. */
const ROWS_MAX = 100_000
const COLUMNS_MAX = 1_000
/** Of a value that is kept: coordinates, symbols, operations are far shorter. */
const VALUE_CHARACTERS_MAX = 1_000
/** Of the text as a whole: ten times the longest that are deposited, reflections included. */
export const CIF_BYTES_MAX = 64 * 2 ** 20

/** The wanted values of a data block by tag: lower case, `_` for the `.` of newer dictionaries. */
export interface CifBlock {
  readonly name: string
  readonly values: ReadonlyMap<string, readonly string[]>
  /** Where the block begins in the text. */
  readonly start: number
}

/** Blocks of a text one after the other. Throws FormatError. */
export function* cifBlocks(text: string, where: Where): Generator<CifBlock> {
  const tokens = new CifTokens(text, where)
  let token = tokens.next()
  if (token === END) throw tokens.fault('a data block', 'no content')
  if (token !== BLOCK) throw tokens.fault('data_ and a name', brief(tokens.value))
  while (token === BLOCK) {
    const name = tokens.value
    const { start } = tokens
    const values = new Map<string, string[]>()
    token = tokens.next()
    while (token !== BLOCK && token !== END) token = token === LOOP ? readLoop(tokens, values) : readPair(tokens, token, values)
    yield { name, values, start }
  }
}

/** True when the block describes atoms: a file's other blocks are about publication, or powder patterns. */
export function holdsAtoms({ values }: CifBlock): boolean {
  return values.has('_atom_site_fract_x') || values.has('_atom_site_cartn_x')
}

/** `_tag value`; returns the token after it. */
function readPair(tokens: CifTokens, token: Token, values: Map<string, string[]>): Token {
  if (token !== TAG) throw tokens.fault('a tag', brief(tokens.value))
  const tag = wantedTag(tokens.value)
  const next = tokens.next()
  if (next !== VALUE) {
    if (tag !== undefined) throw tokens.fault(`a value of ${tag}`, next === END ? 'the end of the text' : brief(tokens.value))
    return next
  }
  if (tag !== undefined) keep(tokens, values, tag).push(checked(tokens, tag))
  return tokens.next()
}

/** `loop_`, tags, rows; returns the token after them. */
function readLoop(tokens: CifTokens, values: Map<string, string[]>): Token {
  const columns: { tag: string; column: string[] | undefined }[] = []
  let wanted = false
  let token = tokens.next()
  for (; token === TAG; token = tokens.next()) {
    if (columns.length === COLUMNS_MAX) throw tokens.fault(`a loop of at most ${COLUMNS_MAX} tags`, 'more')
    const tag = wantedTag(tokens.value)
    wanted ||= tag !== undefined
    columns.push({ tag: tag ?? '', column: tag === undefined ? undefined : keep(tokens, values, tag) })
  }
  if (columns.length === 0) throw tokens.fault('tags after loop_', token === END ? 'the end of the text' : brief(tokens.value))
  let at = 0
  let rows = 0
  for (; token === VALUE; token = tokens.next()) {
    const { tag, column } = columns[at]!
    if (column !== undefined) column.push(checked(tokens, tag))
    if (++at < columns.length) continue
    at = 0
    if (++rows > ROWS_MAX && wanted) throw tokens.fault(`a loop of at most ${ROWS_MAX} rows`, 'more')
  }
  // Loops that nobody asks for are often broken in old files, and do no harm.
  if (wanted && at !== 0) throw tokens.fault(`values for all ${columns.length} tags of the loop`, `${at} in its last row`)
  return token
}

function wantedTag(name: string): string | undefined {
  if (WANTED.has(name)) return name
  // Most tags are neither wanted nor written otherwise.
  if (!/[A-Z.]|_$/.test(name)) return undefined
  const tag = name.toLowerCase().replaceAll('.', '_').replace(/_$/, '')
  return WANTED.has(tag) ? tag : undefined
}

function keep(tokens: CifTokens, values: Map<string, string[]>, tag: string): string[] {
  if (values.has(tag)) throw tokens.fault('each tag once in a block', `${tag} again`)
  const column: string[] = []
  values.set(tag, column)
  return column
}

function checked(tokens: CifTokens, tag: string): string {
  const { value } = tokens
  if (value.length > VALUE_CHARACTERS_MAX) throw tokens.fault(`at most ${VALUE_CHARACTERS_MAX} characters for ${tag}`, `${value.length}`)
  return value
}
