//! Which node owns an index: rendezvous hashing.
//!
//! Every node ranks all nodes by a hash of (node, index); the first one that is up owns the index.
//! Nodes that see the same list agree without talking, and when a node comes or goes only the
//! indexes that it owns move (Thaler and Ravishankar, "Using name-based mappings to increase hit
//! rates", 1998). Nodes that disagree for a moment are no danger: any node may serve any request.

use aws_lc_rs::digest;
use vb_engine::IndexId;

/// The weight of a node for an index; the largest wins.
pub(super) fn weight(node: &str, index: IndexId) -> u64 {
    let mut text = digest::Context::new(&digest::SHA256);
    text.update(&index.0.to_be_bytes());
    text.update(node.as_bytes());
    let digest = text.finish();
    let first = digest.as_ref().first_chunk().expect("SHA-256 has 32 bytes");
    u64::from_be_bytes(*first)
}

/// Positions of the nodes, the owner first. Equal weights are ordered by name.
pub(super) fn ranked(nodes: &[&str], index: IndexId) -> Vec<usize> {
    let mut order: Vec<usize> = (0..nodes.len()).collect();
    order.sort_by_cached_key(|&at| (std::cmp::Reverse(weight(nodes[at], index)), nodes[at]));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner<'a>(nodes: &[&'a str], index: u128) -> &'a str {
        nodes[ranked(nodes, IndexId(index))[0]]
    }

    #[test]
    fn owners_do_not_depend_on_the_lists_order() {
        for index in 0..100 {
            assert_eq!(owner(&["a:1", "b:1", "c:1"], index), owner(&["c:1", "a:1", "b:1"], index));
        }
    }

    #[test]
    fn indexes_are_shared_out_evenly() {
        let nodes = ["10.0.0.1:9100", "10.0.0.2:9100", "10.0.0.3:9100"];
        let mut counts = [0; 3];
        for index in 0..3000 {
            counts[ranked(&nodes, IndexId(index))[0]] += 1;
        }
        // Each count is binomial(3000, 1/3), of standard deviation 26.
        assert!(counts.iter().all(|count| (870..1130).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_node_that_leaves_moves_its_own_indexes_only() {
        let all = ["a:1", "b:1", "c:1"];
        for index in 0..1000 {
            let before = owner(&all, index);
            let order = ranked(&all, IndexId(index));
            let after = owner(&["a:1", "b:1"], index);
            let expected = if before == "c:1" { all[order[1]] } else { before };
            assert_eq!(after, expected);
        }
    }

    /// Nodes of different versions must agree.
    #[test]
    fn weights_are_pinned() {
        assert_eq!(weight("a:1", IndexId(1)), 0x2eee_79e1_8a65_435b);
    }
}
