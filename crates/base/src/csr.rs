//! Sparse matrices by compressed rows.

/// A sparse matrix: row `r` holds the pairs `indices[a..b]`, `values[a..b]` with
/// `a = offsets[r]`, `b = offsets[r + 1]`; the indices of a row rise strictly.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Csr {
    /// `rows + 1` positions; the first is 0.
    pub offsets: Vec<u64>,
    /// Column of each entry.
    pub indices: Vec<u32>,
    /// Value of each entry.
    pub values: Vec<f32>,
}

impl Csr {
    /// Number of rows.
    #[inline]
    pub fn rows(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Number of entries.
    #[inline]
    pub fn entries(&self) -> usize {
        self.indices.len()
    }

    /// Memory of the matrix.
    #[inline]
    pub fn bytes(&self) -> u64 {
        Self::bytes_of(self.rows(), self.entries())
    }

    /// Memory of a matrix of so many rows and entries.
    #[inline]
    pub fn bytes_of(rows: usize, entries: usize) -> u64 {
        (rows as u64 + 1) * 8 + entries as u64 * 8
    }

    /// Columns and values of a row.
    #[inline]
    pub fn row(&self, row: usize) -> (&[u32], &[f32]) {
        let range = self.offsets[row] as usize..self.offsets[row + 1] as usize;
        (&self.indices[range.clone()], &self.values[range])
    }

    /// The transpose, a matrix of `columns` rows. A counting sort: linear time, rows stay ordered. For small matrices
    /// and as a reference: `recommenders::interactions::transpose` is counted against a budget and can be cancelled.
    pub fn transpose(&self, columns: usize) -> Csr {
        let mut offsets = vec![0u64; columns + 1];
        for &column in &self.indices {
            offsets[column as usize + 1] += 1;
        }
        for column in 0..columns {
            offsets[column + 1] += offsets[column];
        }
        let mut next = offsets.clone();
        let mut indices = vec![0; self.entries()];
        let mut values = vec![0.0; self.entries()];
        for row in 0..self.rows() {
            let (row_indices, row_values) = self.row(row);
            for (&column, &value) in row_indices.iter().zip(row_values) {
                let at = next[column as usize] as usize;
                indices[at] = row as u32;
                values[at] = value;
                next[column as usize] += 1;
            }
        }
        Csr { offsets, indices, values }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposing_twice_gives_the_matrix_back() {
        let matrix = Csr { offsets: vec![0, 2, 2, 3], indices: vec![0, 3, 1], values: vec![1.0, 2.0, 3.0] };
        let transposed = matrix.transpose(4);
        assert_eq!(transposed.offsets, [0, 1, 2, 2, 3]);
        assert_eq!(transposed.row(3), (&[0u32][..], &[2.0f32][..]));
        assert_eq!(transposed.transpose(3), matrix);
    }
}
