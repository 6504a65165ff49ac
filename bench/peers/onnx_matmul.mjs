// A matrix product as an ONNX model, written in protobuf's wire format (onnx.proto of opset 17, IR version 8).
const varint = (value) => {
  const bytes = [];
  for (let rest = value; bytes.length === 0 || rest > 0; rest = Math.floor(rest / 128))
    bytes.push((rest % 128) + (rest >= 128 ? 128 : 0));
  return bytes;
};
const whole = (field, value) => [...varint(8 * field), ...varint(value)];
/** A message, or a string. */
const part = (field, content) => {
  const bytes = typeof content === 'string' ? [...Buffer.from(content)] : content.flat();
  return [...varint(8 * field + 2), ...varint(bytes.length), ...bytes];
};

const FLOAT = 1;
const tensor = (name, shape) => {
  const dims = part(
    2,
    shape.map((size) => part(1, whole(1, size))),
  );
  return [part(1, name), part(2, part(1, [whole(1, FLOAT), dims]))];
};
const INT = 2;
const INTS = 7;
const integer = (name, value) => part(5, [part(1, name), whole(3, value), whole(20, INT)]);
const integers = (name, values) =>
  part(5, [part(1, name), ...values.map((value) => whole(8, value)), whole(20, INTS)]);
const node = (type, inputs, output, attributes = []) =>
  part(1, [...inputs.map((name) => part(1, name)), part(2, output), part(4, type), ...attributes]);

/** Gemm for two matrices; MatMul for batches, of transposed operands where they are stored so. Inputs a and b, output c. */
function nodes({ batch, transA, transB }) {
  if (batch === 1)
    return [node('Gemm', ['a', 'b'], 'c', [integer('transA', +transA), integer('transB', +transB)])];
  const turned = (name, wanted) =>
    wanted ? [node('Transpose', [name], `${name}T`, [integers('perm', [0, 2, 1])])] : [];
  const operands = [transA ? 'aT' : 'a', transB ? 'bT' : 'b'];
  return [...turned('a', transA), ...turned('b', transB), node('MatMul', operands, 'c')];
}

/** The shapes of a, b and c as they are stored. */
export function shapesOf({ batch, M, K, N, transA, transB }) {
  const lead = batch > 1 ? [batch] : [];
  const stored = (rows, columns, transposed) => [
    ...lead,
    ...(transposed ? [columns, rows] : [rows, columns]),
  ];
  return { a: stored(M, K, transA), b: stored(K, N, transB), c: stored(M, N, false) };
}

/** The bytes of a model for one product {batch, M, K, N, transA, transB}. */
export function matmulModel(product) {
  const { a, b, c } = shapesOf(product);
  const graph = [
    ...nodes(product),
    part(2, 'matmul'),
    ...[part(11, tensor('a', a)), part(11, tensor('b', b)), part(12, tensor('c', c))],
  ];
  return Uint8Array.from([whole(1, 8), part(7, graph), part(8, [part(1, ''), whole(2, 17)])].flat());
}
