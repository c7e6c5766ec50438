//! Numbers in memory, without Core ML: this file is tested on any system.

/// An input: its numbers in row-major order.
pub struct Input {
    pub name: String,
    pub shape: Vec<u32>,
    pub data: Vec<i32>,
}

/// An output: its numbers in row-major order.
#[derive(Debug)]
pub struct Output {
    pub shape: Vec<u32>,
    pub data: Vec<f32>,
}

/// What an output is stored as.
#[derive(Clone, Copy)]
pub enum Element {
    Float16,
    Float32,
}

impl Element {
    fn bytes(self) -> usize {
        match self {
            Self::Float16 => 2,
            Self::Float32 => 4,
        }
    }

    fn read(self, bytes: &[u8]) -> f32 {
        match self {
            Self::Float16 => half_to_single(u16::from_ne_bytes([bytes[0], bytes[1]])),
            Self::Float32 => f32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
        }
    }
}

/// How many numbers a shape holds.
pub fn size_of_shape(shape: &[u32]) -> Option<usize> {
    shape.iter().try_fold(1usize, |size, &dimension| size.checked_mul(dimension as usize))
}

/// Strides of a row-major array, counted in numbers.
pub fn row_major_strides(shape: &[u32]) -> Vec<usize> {
    let mut strides = vec![1usize; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis] as usize;
    }
    strides
}

/// Says what is wrong with an input, if anything is.
pub fn check_input(Input { name, shape, data }: &Input) -> Result<(), String> {
    if shape.is_empty() || shape.contains(&0) {
        return Err(format!("input {name}: the shape {shape:?} holds nothing"));
    }
    match size_of_shape(shape) {
        Some(size) if size == data.len() => Ok(()),
        _ => Err(format!("input {name}: {} numbers do not fill the shape {shape:?}", data.len())),
    }
}

/// Reads an array of any strides (counted in numbers) into row-major order.
///
/// Core ML pads the rows of what the Neural Engine gives.
pub fn gather(bytes: &[u8], element: Element, shape: &[u32], strides: &[usize]) -> Result<Vec<f32>, String> {
    let outside = || format!("shape {shape:?} with strides {strides:?} exceeds {} bytes", bytes.len());
    let size = size_of_shape(shape).ok_or_else(outside)?;
    if strides.len() != shape.len() {
        return Err(outside());
    }
    if size == 0 {
        return Ok(Vec::new());
    }
    let last = shape
        .iter()
        .zip(strides)
        .try_fold(0usize, |last, (&dimension, &stride)| {
            (dimension as usize - 1).checked_mul(stride).and_then(|reach| last.checked_add(reach))
        })
        .ok_or_else(outside)?;
    if last >= bytes.len() / element.bytes() {
        return Err(outside());
    }
    // Strides of 0 could claim any number of places in a few bytes.
    if size > bytes.len() / element.bytes() {
        return Err(outside());
    }
    let mut values = Vec::with_capacity(size);
    let mut place = vec![0u32; shape.len()];
    for _ in 0..size {
        let index: usize = place.iter().zip(strides).map(|(&at, &stride)| at as usize * stride).sum();
        values.push(element.read(&bytes[index * element.bytes()..]));
        for axis in (0..shape.len()).rev() {
            place[axis] += 1;
            if place[axis] < shape[axis] {
                break;
            }
            place[axis] = 0;
        }
    }
    Ok(values)
}

/// IEEE 754 binary16 to binary32, which holds every one of its values.
fn half_to_single(bits: u16) -> f32 {
    let sign = u32::from(bits >> 15) << 31;
    let exponent = u32::from(bits >> 10) & 0x1f;
    let fraction = u32::from(bits) & 0x3ff;
    let magnitude = match exponent {
        // Zero, and what is too small for an exponent: the fraction counts 2^-24.
        0 => (fraction as f32 * f32::from_bits(103 << 23)).to_bits(),
        0x1f => (0xff << 23) | (fraction << 13),
        _ => ((exponent + 112) << 23) | (fraction << 13),
    };
    f32::from_bits(sign | magnitude)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_ne_bytes()).collect()
    }

    #[test]
    fn every_half_becomes_its_value() {
        for bits in 0..=u16::MAX {
            let (exponent, fraction) = (i32::from(bits >> 10) & 0x1f, f64::from(bits & 0x3ff) / 1024.0);
            let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
            let got = f64::from(half_to_single(bits));
            match exponent {
                0x1f if fraction > 0.0 => assert!(got.is_nan(), "{bits:#06x}"),
                0x1f => assert_eq!(got, sign * f64::INFINITY, "{bits:#06x}"),
                0 => assert_eq!(got.to_bits(), (sign * fraction * 2f64.powi(-14)).to_bits(), "{bits:#06x}"),
                _ => assert_eq!(got, sign * (1.0 + fraction) * 2f64.powi(exponent - 15), "{bits:#06x}"),
            }
        }
    }

    #[test]
    fn padded_rows_are_left_out() {
        let bytes = bytes_of(&[1.0, 2.0, 9.0, 9.0, 3.0, 4.0, 9.0, 9.0, 5.0, 6.0]);
        let got = gather(&bytes, Element::Float32, &[3, 2], &[4, 1]).unwrap();
        assert_eq!(got, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }

    #[test]
    fn transposed_arrays_are_read_in_row_major_order() {
        let bytes = bytes_of(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let got = gather(&bytes, Element::Float32, &[3, 2], &[1, 3]).unwrap();
        assert_eq!(got, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }

    #[test]
    fn halves_are_read_too() {
        let bytes: Vec<u8> = [0x3c00u16, 0x7bff, 0xc000].iter().flat_map(|bits| bits.to_ne_bytes()).collect();
        assert_eq!(gather(&bytes, Element::Float16, &[3, 1], &[1, 1]).unwrap(), [1.0, 65504.0, -2.0]);
    }

    #[test]
    fn nothing_is_read_outside_of_the_memory() {
        let bytes = bytes_of(&[0.0; 6]);
        assert!(gather(&bytes, Element::Float32, &[3, 2], &[3, 1]).is_err());
        assert!(gather(&bytes, Element::Float32, &[3, 2], &[2]).is_err());
        assert!(gather(&bytes, Element::Float32, &[u32::MAX, u32::MAX, u32::MAX], &[0, 0, 0]).is_err());
        assert!(gather(&bytes, Element::Float32, &[7], &[0]).is_err());
        assert!(gather(&bytes, Element::Float32, &[2], &[usize::MAX]).is_err());
        assert!(gather(&bytes, Element::Float32, &[0, 2], &[2, 1]).unwrap().is_empty());
    }

    #[test]
    fn inputs_fill_their_shapes() {
        let input = |shape: &[u32], numbers: usize| Input {
            name: "input_ids".into(),
            shape: shape.to_vec(),
            data: vec![0; numbers],
        };
        assert!(check_input(&input(&[20, 1, 1, 128], 2560)).is_ok());
        assert!(check_input(&input(&[20, 1, 1, 128], 2559)).is_err());
        assert!(check_input(&input(&[20, 0], 0)).is_err());
        assert!(check_input(&input(&[], 1)).is_err());
        assert!(check_input(&input(&[u32::MAX; 4], 1)).is_err());
    }

    #[test]
    fn strides_are_row_major() {
        assert_eq!(row_major_strides(&[20, 1, 2, 128]), [256, 256, 128, 1]);
    }
}
