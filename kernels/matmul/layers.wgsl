// layers: what products share that read their matrices through textures in layers of 64 columns
//   A layer is 16 texels wide, and a row of a layer is a row of the stored matrix: 256 bytes. So the rows of 64 columns are
//   contiguous, and a walk down the rows touches few pages of memory.
// needs EPILOGUE, HALF, beside
import package::lib::half::{rounded};
import package::matmul::epilogue::{GELU_GRADIENT, RESIDUAL};

// Columns 4·column4 … 4·column4 + 3 of a row of the stored matrix.
fn quad(matrix: texture_storage_2d_array<rgba32float, read>, column4: u32, row: u32) -> vec4f {
  return textureLoad(matrix, vec2u(column4 & 15u, row), column4 >> 4u);
}

// The four columns of B whose elements of four consecutive k are t0 … t3, as the rows of these k.
fn across(t0: vec4f, t1: vec4f, t2: vec4f, t3: vec4f, k: u32) -> vec4f {
  return vec4f(t0[k], t1[k], t2[k], t3[k]);
}

// An element of A or B as the product reads it.
fn factor(value: vec4f) -> vec4f {
  if (HALF) { return rounded(value); }
  return value;
}

// The epilogue's operand for a quad of C. It comes from a texture, because a load from a storage buffer costs ten times as much.
fn other(column4: u32, row: u32) -> vec4f {
  if (EPILOGUE == RESIDUAL || EPILOGUE == GELU_GRADIENT) { return quad(beside, column4, row); }
  return vec4f(0.0);
}
