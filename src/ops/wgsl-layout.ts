/** How a kernel's bind group 0 is laid out, read from its text: the WGSL file is the only place that says it. */
export interface KernelLayout {
  /** In the order of their numbers. */
  readonly bindings: readonly { readonly name: string; readonly type: 'read-only-storage' | 'storage' | 'uniform' }[]
  /** Members of the uniform `params`, in bytes from its start. */
  readonly params: readonly { readonly name: string; readonly type: 'u32' | 'i32' | 'f32' | 'vec4u'; readonly offset: number }[]
  readonly paramsBytes: number
  /** Named override constants. */
  readonly overrides: readonly string[]
}

/** Reads what the host has to know of a kernel. Throws TypeError where the text does not keep the conventions of `kernels/`. */
export function layoutOf(code: string): KernelLayout {
  const plain = code.replace(/\/\/.*$/gm, '').replace(/\/\*[\s\S]*?\*\//g, '')
  const bindings = Array.from(plain.matchAll(/@group\(0\)\s*@binding\((\d+)\)\s*var<\s*(uniform|storage)\s*(?:,\s*(read|read_write)\s*)?>\s*(\w+)/g), ([, number, space, access, name]) => ({
    number: Number(number),
    name: name!,
    type: space === 'uniform' ? 'uniform' as const : access === 'read_write' ? 'storage' as const : 'read-only-storage' as const,
  })).sort((a, b) => a.number - b.number)
  bindings.forEach(({ number, name }, k) => {
    if (number !== k) throw new TypeError(`WGSL: the bindings of group 0 must be numbered from 0 without gaps; ${name} has ${number}, expected ${k}`)
  })
  const uniforms = bindings.filter(({ type }) => type === 'uniform')
  if (uniforms.some(({ name }) => name !== 'params')) throw new TypeError('WGSL: the uniform of group 0 must be called params')
  const body = /struct\s+Params\s*\{([^}]*)\}/.exec(plain)?.[1]
  if (uniforms.length > 0 && body === undefined) throw new TypeError('WGSL: there is a uniform params, but no struct Params')
  let end = 0
  const params = uniforms.length === 0 ? [] : Array.from(body!.matchAll(/(\w+)\s*:\s*([\w<>]+)/g), ([, name, type]) => {
    const kind = type === 'vec4<u32>' ? 'vec4u' : type
    if (kind !== 'u32' && kind !== 'i32' && kind !== 'f32' && kind !== 'vec4u') throw new TypeError(`WGSL: Params.${name} is ${type}; u32, i32, f32 and vec4u are possible`)
    const size = kind === 'vec4u' ? 16 : 4
    const offset = Math.ceil(end / size) * size
    end = offset + size
    return { name: name!, type: kind as 'u32' | 'i32' | 'f32' | 'vec4u', offset }
  })
  return {
    bindings: bindings.map(({ name, type }) => ({ name, type })),
    params,
    paramsBytes: Math.ceil(end / 16) * 16,
    overrides: Array.from(plain.matchAll(/\boverride\s+(\w+)/g), (match) => match[1]!),
  }
}
