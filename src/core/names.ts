/** What items and batches have beside their fields. */
const RESERVED = ['id', 'ids', 'indices']

/** Why a field cannot be called `name`, if so. Field names are snake_case, so that they are identifiers in every language that reads them. */
export function badFieldName(name: string): string | undefined {
  if (RESERVED.includes(name)) return `${RESERVED.join(', ')} are what items and batches have beside their fields`
  return /^[a-z][a-z0-9_]*$/.test(name) ? undefined : `names of fields are snake_case: a letter, then letters, digits and _ ("${suggest(name)}")`
}

function suggest(name: string): string {
  const plain = name.replace(/([a-z0-9])([A-Z])/g, '$1_$2').toLowerCase().replace(/[^a-z0-9]+/g, '_').replace(/^[_\d]+|_+$/g, '')
  return plain === '' ? 'x' : plain
}
