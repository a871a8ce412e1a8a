import { stat } from 'node:fs/promises'
import { extname } from 'node:path'
import { FormatError } from '../core/errors.js'
import { sha256, toHex } from '../core/hash.js'
import { boolean, checkOptions, choice, show } from '../core/options.js'
import type { FieldSpec } from '../core/tensor.js'
import { isPattern } from './glob.js'
import { checkFieldName } from './names.js'
import { framesOf } from './nifti-frames.js'
import { isImageName, itemsOfFiles, itemsOfPatterns, itemsOfTables, pathOf, type VolumeItems } from './nifti-items.js'
import { affineName, commonSpec, NiftiSource, type NiftiFields, type NiftiItem } from './nifti-source.js'
import { NiftiVolume, type VolumeForm } from './nifti-volume.js'
import { propertiesOf, type PropertyColumns } from './properties.js'
import type { Source } from './source.js'

/** Options of `nifti`. */
export interface NiftiOptions {
  /**
   * Images by field, when an item has several. Of a folder: the folders or patterns of each below it, `{ image: 'imagesTr/*.nii.gz', label: 'labelsTr/*.nii.gz' }`; files belong together
   * whose wildcards stand for the same. Of a CSV: the column of each.
   */
  readonly fields?: Readonly<Record<string, string>>
  /** Column of a CSV with the paths of the images, short for `fields: { image: column }`. Default: `image`. */
  readonly column?: string
  /** What paths in a CSV are relative to. Default: the folder of the CSV. */
  readonly root?: string
  /** Column of a CSV with the items' ids, each different. Default: the path without suffix. */
  readonly idColumn?: string
  /** Columns of a CSV with numbers, each a float64 [] field of its name: `['age']`; or by field: `{ age: 'Age at scan' }`. */
  readonly properties?: PropertyColumns
  /** Whether scl_slope and scl_inter are applied: default true. By field, or of the first. */
  readonly scaled?: boolean | Readonly<Record<string, boolean>>
  /** Default: the stored dtype; where there is scaling float32, or float64 when that is stored. By field, or of the first. */
  readonly dtype?: ImageDType | Readonly<Record<string, ImageDType>>
  /** Where the fourth axis goes: `trailing` (default, [x, y, z, t]) or `leading` ([t, x, y, z]). */
  readonly time?: 'trailing' | 'leading'
  /** Leaves out axes of 1 behind the third. Default false. */
  readonly squeeze?: boolean
  /**
   * Each frame of a fourth axis is an item of its own, [x, y, z], called `<id>/<frame>`; images without one go with every frame of the others. Not with `time` and `squeeze`. Default false.
   */
  readonly frames?: boolean
}

/** What voxels may be read as. */
export type ImageDType = 'float32' | 'float64'

const OPTIONS = ['fields', 'column', 'root', 'idColumn', 'properties', 'scaled', 'dtype', 'time', 'squeeze', 'frames']
const TABLE_OPTIONS = ['column', 'root', 'idColumn', 'properties'] as const
/** Files opened at the same time. */
const FILES_AT_ONCE = 32

/**
 * NIfTI images (`.nii`, `.nii.gz`, `.hdr` with `.img`; NIfTI-1 and NIfTI-2): files, folders with their subfolders, patterns (`data/**\/*.nii.gz`), or the rows of `.csv` files. Opening reads
 * the headers; an image is read, inflated, scaled and brought into C order when its item is.
 *
 * With `frames` no more of a 4-D image is read than the frame; of a compressed one what lies between it and a resume point before, once the file has been passed. A cache keeps those points.
 *
 * Fields: `image` [x, y, z] or [x, y, z, t], and `affine` float64 [4, 4], voxel to world in mm, as nibabel has it; of any other image field `f` also `f_affine`; each property float64 [].
 *
 * Rejects with FileError when a file or a partner is missing, FormatError when one is damaged or hostile or differs from the others in dtype or number of axes, UnsupportedError when
 * its elements are no numbers this library knows, or frames are asked for of an image with a fifth axis.
 */
export async function nifti(paths: string | URL | readonly (string | URL)[], options: NiftiOptions = {}): Promise<Source> {
  checkOptions('nifti', options, OPTIONS)
  const list = Array.isArray(paths) ? paths as readonly (string | URL)[] : [paths as string | URL]
  if (list.length === 0) throw new TypeError('nifti: no path given')
  for (const path of list) if (typeof path !== 'string' && !(path instanceof URL)) throw new TypeError(`nifti: path must be a string or a file: URL, not ${show(path)}`)
  for (const name of ['column', 'root', 'idColumn'] as const) if (options[name] !== undefined && typeof options[name] !== 'string') throw new TypeError(`nifti: ${name} must be a text, not ${show(options[name])}`)
  const isTable = isTableOf(list, TABLE_OPTIONS.find((name) => options[name] !== undefined))
  const images = imagesOf(options)
  const forms = formsOf(Object.keys(images), options)
  const properties = propertiesOf('nifti', options.properties, Object.keys(images).flatMap((image) => [image, affineName(image)]))

  const { items, tables }: VolumeItems = isTable
    ? await itemsOfTables(list, { fields: images, id: options.idColumn, properties, root: options.root === undefined ? undefined : pathOf(options.root) })
    : { items: options.fields === undefined ? await itemsOfFiles(list, 'image') : await itemsOfPatterns(await folderOf(list), images), tables: [] }
  try {
    const found = await openAll(items)
    const opened = options.frames === true ? framesOf(found) : found
    const fields: NiftiFields = { images: forms, properties: Object.keys(properties), specs: specsOf(opened, forms, Object.keys(properties)) }
    const rules = { ...(options.fields !== undefined && { fields: images }), ...(options.scaled !== undefined && { scaled: options.scaled }), ...(options.dtype !== undefined && { dtype: options.dtype }), ...(options.time !== undefined && { time: options.time }), ...(options.squeeze !== undefined && { squeeze: options.squeeze }), ...(options.frames !== undefined && { frames: options.frames }) }
    const tableRules = isTable ? { ...(options.fields === undefined && { column: images.image }), ...(options.idColumn !== undefined && { idColumn: options.idColumn }), properties } : {}
    const root = isTable && options.root !== undefined ? { root: pathOf(options.root) } : {}
    return new NiftiSource(opened, fields, tables.map(({ file }) => file), {
      description: { type: 'nifti', path: list.length === 1 ? pathOf(list[0]!) : list.map(pathOf), ...rules, ...tableRules, ...root },
      // The names of files are ids, and the files' content does not say them.
      selection: { images: forms, ...tableRules, ids: toHex(sha256(JSON.stringify(opened.map(({ item }) => item.id)))) },
    })
  } catch (error) {
    for (const { file } of tables) file.close()
    throw error
  }
}

/** A file is a table when it is called one, or when it is not called an image and an option for tables is given. */
function isTableOf(paths: readonly (string | URL)[], option: string | undefined): boolean {
  const isCsv = (path: string | URL): boolean => extname(String(path)).toLowerCase() === '.csv'
  const image = paths.find((path) => isImageName(String(path)) || isPattern(String(path)))
  if (image === undefined && (option !== undefined || paths.every(isCsv))) return true
  if (paths.some(isCsv)) throw new TypeError('nifti: .csv files and images cannot be items of one source')
  if (option !== undefined) throw new TypeError(`nifti: ${option} is for .csv files, and ${show(String(image))} is none`)
  return false
}

/** Pattern or column by field. */
function imagesOf({ fields, column }: NiftiOptions): Readonly<Record<string, string>> {
  if (fields === undefined) return { image: column ?? 'image' }
  if (column !== undefined) throw new TypeError('nifti: fields and column both say where the images are; one of them is enough')
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields) || Object.keys(fields).length === 0) throw new TypeError(`nifti: fields must be { field: pattern or column }, not ${show(fields)}`)
  for (const [name, value] of Object.entries(fields)) {
    checkFieldName('nifti: fields', name)
    if (typeof value !== 'string' || value === '') throw new TypeError(`nifti: fields.${name} must be a pattern or a column, not ${show(value)}`)
    if (Object.keys(fields).some((image) => affineName(image) === name)) throw new TypeError(`nifti: fields: ${name} is the name of an affine`)
  }
  return { ...fields }
}

function formsOf(images: readonly string[], options: NiftiOptions): Record<string, VolumeForm> {
  const time = choice('nifti', 'time', options.time, ['trailing', 'leading'], 'trailing')
  const squeeze = boolean('nifti', 'squeeze', options.squeeze, false)
  const frames = boolean('nifti', 'frames', options.frames, false)
  const other = frames ? (['time', 'squeeze'] as const).find((name) => options[name] !== undefined) : undefined
  if (other !== undefined) throw new TypeError(`nifti: ${other} says where axes behind the third go, and frames have none`)
  const scaled = byField('scaled', options.scaled, images)
  const dtype = byField('dtype', options.dtype, images)
  return Object.fromEntries(images.map((image) => [image, {
    scaled: boolean('nifti', 'scaled', scaled[image], true), dtype: dtype[image] === undefined ? undefined : choice<ImageDType>('nifti', 'dtype', dtype[image], ['float32', 'float64']), time, squeeze, ...(frames && { frames }),
  }]))
}

/** One value is the first field's. */
function byField(option: string, given: unknown, images: readonly string[]): Readonly<Record<string, unknown>> {
  if (typeof given !== 'object' || given === null) return { [images[0]!]: given }
  checkOptions(`nifti: ${option}`, given, images)
  return given as Record<string, unknown>
}

async function folderOf(paths: readonly (string | URL)[]): Promise<string> {
  const folder = pathOf(paths[0]!)
  if (paths.length > 1 || (await stat(folder).catch(() => undefined))?.isDirectory() === false) throw new TypeError(`nifti: fields says what is below one folder, not ${paths.length > 1 ? `${paths.length} paths` : show(folder)}`)
  return folder
}

/** An image that several items share is opened once. */
async function openAll(items: VolumeItems['items']): Promise<NiftiItem[]> {
  const opened = new Map<string, Promise<NiftiVolume>>()
  const open = (path: string): Promise<NiftiVolume> => {
    let volume = opened.get(path)
    if (volume === undefined) opened.set(path, volume = NiftiVolume.open(path))
    return volume
  }
  const all: NiftiItem[] = []
  for (let at = 0; at < items.length; at += FILES_AT_ONCE) {
    all.push(...await Promise.all(items.slice(at, at + FILES_AT_ONCE).map(async (item) => {
      const volumes: Record<string, NiftiVolume> = {}
      for (const [field, path] of Object.entries(item.paths)) volumes[field] = await open(path)
      return { item, volumes }
    })))
  }
  return all
}

function specsOf(items: readonly NiftiItem[], forms: Readonly<Record<string, VolumeForm>>, properties: readonly string[]): Record<string, FieldSpec> {
  const specs: Record<string, FieldSpec> = {}
  const text = ({ dtype, shape }: FieldSpec): string => `${dtype} of ${shape.length} axes`
  for (const [image, form] of Object.entries(forms)) {
    specs[image] = items.length === 0 ? { dtype: form.dtype ?? 'float32', shape: [null, null, null] } : commonSpec(items.map(({ volumes }) => volumes[image]!), form, (volume, found, first, expected) => new FormatError({
      file: volume.path, place: `field ${image}`, expected: `${text(expected)}, as ${first.path} has`,
      found: `${text(found)} (${found.dtype === expected.dtype ? '`squeeze` leaves out axes of 1 at the end' : "`dtype: 'float32'` makes them one"})`,
    }))
    specs[affineName(image)] = { dtype: 'float64', shape: [4, 4] }
  }
  for (const name of properties) specs[name] = { dtype: 'float64', shape: [] }
  return Object.freeze(specs)
}
