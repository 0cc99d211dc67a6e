//! A product with another of low rank beside it, against the two by themselves.

use super::*;

#[test]
fn a_low_rank_product_goes_on_where_the_other_ends() {
    // Few rows, which are split by columns or not at all, and many, which go through both at once.
    for (rows, depth, width, rank) in
        [(1, 40, 33, 4), (9, 70, 300, 16), (130, 64, 48, 16), (300, 600, 70, 5), (450, 1, 16, 1)]
    {
        let (a, b) = (numbers(1, rows * depth), numbers(2, depth * width));
        let (down, up) = (numbers(3, depth * rank), numbers(4, rank * width));
        let start = numbers(5, rows * width);
        let mut low = chain(&a, &down, rows, depth, rank, &vec![0.0; rows * rank]);
        low.iter_mut().for_each(|x| *x *= 0.3);
        for onto in [None, Some(start)] {
            let before = onto.clone().unwrap_or_else(|| vec![0.0; rows * width]);
            let first = chain(&a, &b, rows, depth, width, &before);
            let wanted = [chain(&low, &up, rows, rank, width, &first), low.clone()].concat();
            let got = everywhere(|isa| {
                let right = |x, height, width| Packed::new(isa, View::new(x, height, width));
                let (b, down, up) = (right(&b, depth, width), right(&down, depth, rank), right(&up, rank, width));
                let beside = LowRank { down: down.panels(), up: up.panels(), scale: 0.3 };
                let onto = onto.clone().map(Buffer::from);
                let (out, low) = matmul_low_rank(isa, View::new(&a, rows, depth), b.panels(), beside, onto);
                [&out[..], &low].concat()
            });
            assert_eq!(bits(&got), bits(&wanted), "{rows} × {depth} × {width} beside {rank}");
        }
    }
}
