//! Arithmetic of an operator, from the shapes it was run with.

/// Which operators are counted, for people.
pub(super) const COUNTED: &str = "Conv, ConvTranspose, Gemm and MatMul, quantised ones too";

/// Dimensions of one tensor.
pub(super) type Shape = Vec<i64>;

/// Floating-point (or, in a quantised operator, integer) operations of one call: two a multiply-add, biases left out. `None`
/// for operators that are not counted.
pub(super) fn flop(op: &str, inputs: &[Shape], outputs: &[Shape]) -> Option<f64> {
    let (first, out) = (inputs.first()?, outputs.first()?);
    let multiply_adds = match op {
        // out[n,m,…] sums over w[m,…].
        "Conv" | "FusedConv" | "ConvInteger" => elements(out) * elements(inputs.get(1)?.get(1..)?),
        "QLinearConv" => elements(out) * elements(inputs.get(3)?.get(1..)?),
        // Every input element is spread by w[c,…].
        "ConvTranspose" => elements(first) * elements(inputs.get(1)?.get(1..)?),
        // A is [M,K], or [K,M] when it is transposed.
        "Gemm" | "FusedGemm" => elements(out) * elements(first) / size(*out.first()?).max(1.0),
        "MatMul" | "FusedMatMul" | "MatMulInteger" | "QLinearMatMul" => elements(out) * size(*first.last()?),
        _ => return None,
    };
    Some(2.0 * multiply_adds)
}

fn elements(dims: &[i64]) -> f64 {
    dims.iter().map(|dim| size(*dim)).product()
}

#[expect(clippy::cast_precision_loss, reason = "dimensions are far below 2^52")]
fn size(dim: i64) -> f64 {
    dim.max(0) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Multiply-adds of a call.
    fn count(op: &str, inputs: &[&[i64]], output: &[i64]) -> f64 {
        let inputs: Vec<Shape> = inputs.iter().map(|dims| dims.to_vec()).collect();
        flop(op, &inputs, &[output.to_vec()]).expect("it is counted") / 2.0
    }

    #[test]
    fn multiply_adds_are_those_of_the_loops() {
        let near = |a: f64, b: f64| assert!((a - b).abs() < 0.5, "{a} against {b}");
        // 16 channels of 10x20, each a sum over 3 channels of 3x3.
        near(count("Conv", &[&[1, 3, 20, 40], &[16, 3, 3, 3], &[16]], &[1, 16, 10, 20]), 16.0 * 200.0 * 27.0);
        // Depthwise: one channel each.
        near(count("Conv", &[&[1, 16, 10, 20], &[16, 1, 3, 3]], &[1, 16, 10, 20]), 16.0 * 200.0 * 9.0);
        near(count("ConvTranspose", &[&[1, 8, 5, 5], &[8, 4, 2, 2]], &[1, 4, 10, 10]), 8.0 * 25.0 * 16.0);
        near(count("Gemm", &[&[5, 7], &[7, 3]], &[5, 3]), 105.0);
        near(count("Gemm", &[&[7, 5], &[7, 3]], &[5, 3]), 105.0);
        near(count("MatMul", &[&[2, 8, 5, 7], &[2, 8, 7, 3]], &[2, 8, 5, 3]), 16.0 * 105.0);
        near(count("QLinearConv", &[&[1, 3, 8, 8], &[], &[], &[4, 3, 1, 1]], &[1, 4, 8, 8]), 4.0 * 64.0 * 3.0);
    }

    #[test]
    fn what_cannot_be_counted_is_not() {
        assert_eq!(flop("Softmax", &[vec![1, 80]], &[vec![1, 80]]), None);
        assert_eq!(flop("Conv", &[vec![1, 3, 8, 8]], &[vec![1, 4, 8, 8]]), None);
        assert_eq!(flop("Gemm", &[vec![5, 7]], &[vec![]]), None);
    }
}
