// A model of one matrix product in ONNX's file format, written by hand: ModelProto in protobuf's wire encoding. The numbers are
// those of onnx.proto.
const FLOAT = 1; // TensorProto.DataType
const INTS = 7; // AttributeProto.AttributeType
const IR_VERSION = 8;
const OPSET = 17;

const varint = (value) => (value < 128 ? [value] : [(value % 128) + 128, ...varint(Math.floor(value / 128))]);
/** A field that is a number (wire type 0). */
const number = (field, value) => [...varint(8 * field), ...varint(value)];
/** A field that is bytes: text or another message (wire type 2). */
const bytes = (field, content) => [...varint(8 * field + 2), ...varint(content.length), ...content];
const text = (field, string) => bytes(field, [...new TextEncoder().encode(string)]);
const each = (items, encode) => items.flatMap(encode);

/** A ValueInfoProto: a float32 tensor of a fixed shape. */
const value = (name, shape) => {
  const dims = each(shape, (size) => bytes(1, number(1, size)));
  return [...text(1, name), ...bytes(2, bytes(1, [...number(1, FLOAT), ...bytes(2, dims)]))];
};

const permutation = (perm) =>
  bytes(5, [...text(1, 'perm'), ...each(perm, (axis) => number(8, axis)), ...number(20, INTS)]);

const node = (type, inputs, output, attributes = []) => [
  ...each(inputs, (name) => text(1, name)),
  ...text(2, output),
  ...text(4, type),
  ...attributes,
];

/**
 * The shapes in which the operands are stored, and the model: `y = a b` with `a` (M, K) and `b` (K, N), stored the other way
 * around where they are transposed. onnxruntime joins a Transpose with the product after it.
 */
export function matmulModel({ batch, M, K, N, transA, transB }) {
  const lead = batch > 1 ? [batch] : [];
  const stored = (rows, columns, transposed) => [
    ...lead,
    ...(transposed ? [columns, rows] : [rows, columns]),
  ];
  const shapes = { a: stored(M, K, transA), b: stored(K, N, transB) };
  const swap = permutation(batch > 1 ? [0, 2, 1] : [1, 0]);
  const nodes = [
    ...(transA ? [node('Transpose', ['a'], 'at', swap)] : []),
    ...(transB ? [node('Transpose', ['b'], 'bt', swap)] : []),
    node('MatMul', [transA ? 'at' : 'a', transB ? 'bt' : 'b'], 'y'),
  ];
  const graph = [
    ...each(nodes, (it) => bytes(1, it)),
    ...text(2, 'matmul'),
    ...each(Object.entries(shapes), ([name, shape]) => bytes(11, value(name, shape))),
    ...bytes(12, value('y', [...lead, M, N])),
  ];
  const opset = bytes(8, number(2, OPSET));
  return {
    shapes,
    model: Uint8Array.from([...number(1, IR_VERSION), ...bytes(7, graph), ...opset]),
  };
}
