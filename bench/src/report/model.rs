//! Models of scaling, fitted to measured rates: linear, Amdahl's law, and the universal scalability law.
//!
//! ```text
//! rate(n) = n · first / (1 + contention · (n − 1) + coherence · n · (n − 1))
//! ```
//!
//! Gunther, "A General Theory of Computational Scalability Based on Rational Functions" (2008). Without coherence it is
//! Amdahl's law, and without both it is a line through zero. `n / rate(n)` is linear in the coefficients, so each model
//! is fitted by least squares of relative errors. A model needs one point more than it has coefficients. Of the models
//! with coefficients of at least zero, that with the smallest residual per degree of freedom is taken.

/// The fewest different sizes from which larger ones are predicted.
const ENOUGH_SIZES: usize = 4;
/// The largest predicted size, in multiples of the largest measured one.
const FARTHEST: f64 = 4.0;
/// A residual of at least so much means that the model does not describe the points.
const LARGE_RESIDUAL: f64 = 0.1;

/// The mean rate at a size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The number of workers, processes, partitions.
    pub size: f64,
    /// The rate.
    pub rate: f64,
}

/// A fitted model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// The rate of size 1.
    pub first: f64,
    /// The share of work that is done one after the other.
    pub contention: f64,
    /// The share of work for each pair.
    pub coherence: f64,
    /// The root of the mean of squared relative errors, for each degree of freedom.
    pub residual: f64,
    sizes: usize,
    largest: f64,
}

/// The terms of `n / rate(n)` besides the constant one.
#[derive(Clone, Copy)]
struct Terms {
    contention: bool,
    coherence: bool,
}

const MODELS: [Terms; 4] = [
    Terms {
        contention: false,
        coherence: false,
    },
    Terms {
        contention: true,
        coherence: false,
    },
    Terms {
        contention: false,
        coherence: true,
    },
    Terms {
        contention: true,
        coherence: true,
    },
];

impl Fit {
    /// Fits a model to points of different sizes.
    ///
    /// # Errors
    /// The reason why no model fits.
    pub fn of(points: &[Point]) -> Result<Self, String> {
        let is_usable = |point: &&Point| {
            let numbers = point.size.is_finite() && point.rate.is_finite();
            numbers && point.size >= 1.0 && point.rate > 0.0
        };
        let usable: Vec<Point> = points.iter().filter(is_usable).copied().collect();
        let sizes = different_sizes(&usable);
        if sizes < 2 {
            return Err(format!(
                "No model is fitted: it needs 2 measured sizes, and there are {sizes}."
            ));
        }

        let fits = MODELS.iter().filter_map(|terms| fitted(&usable, *terms));
        let best = fits.min_by(|one, other| one.residual.total_cmp(&other.residual));
        best.ok_or_else(|| "No model is fitted: no model describes the points.".to_owned())
    }

    /// Returns the rate of a size.
    pub fn rate(&self, size: f64) -> f64 {
        let others = size - 1.0;
        self.first * size / (1.0 + self.contention * others + self.coherence * size * others)
    }

    /// Returns the sentences about the model: its coefficients, its residual, and its predictions or the reason why
    /// there are none.
    pub fn sentences(&self, unit: &str) -> String {
        let percent = |share: f64| format!("{:.1} %", share * 100.0);
        let name = match (self.contention > 0.0, self.coherence > 0.0) {
            (false, false) => "Linear".to_owned(),
            (true, false) => format!(
                "Amdahl's law with a serial share of {}",
                percent(self.contention)
            ),
            (_, true) => format!(
                "Universal scalability law with contention {} and coherence {}",
                percent(self.contention),
                percent(self.coherence)
            ),
        };

        format!(
            "{name}; fitted to {} sizes, residual {}. {}",
            self.sizes,
            percent(self.residual),
            self.prediction(unit)
        )
    }

    fn prediction(&self, unit: &str) -> String {
        if self.sizes < ENOUGH_SIZES {
            return format!(
                "Nothing is predicted for larger sizes: that needs {ENOUGH_SIZES} measured sizes."
            );
        }
        if self.residual >= LARGE_RESIDUAL {
            return "Nothing is predicted for larger sizes: the model misses the measured ones by too much.".to_owned();
        }

        let farthest = self.largest * FARTHEST;
        let most = if self.coherence > 0.0 {
            let best = ((1.0 - self.contention).max(0.0) / self.coherence)
                .sqrt()
                .max(1.0);
            format!(" More than {best:.0} would be slower.")
        } else {
            String::new()
        };
        format!(
            "It predicts {} {unit} at {}, {FARTHEST:.0} times the largest measured size; beyond that nothing is predicted.{most}",
            super::text::number(self.rate(farthest)),
            super::text::number(farthest)
        )
    }
}

fn different_sizes(points: &[Point]) -> usize {
    let mut sizes: Vec<f64> = points.iter().map(|point| point.size).collect();
    sizes.sort_by(f64::total_cmp);
    sizes.dedup();
    sizes.len()
}

/// Fits one model. `None` if there are too few points, or a coefficient is negative.
fn fitted(points: &[Point], terms: Terms) -> Option<Fit> {
    let columns = 1 + usize::from(terms.contention) + usize::from(terms.coherence);
    let freedom = different_sizes(points)
        .checked_sub(columns)
        .filter(|freedom| *freedom > 0)?;

    // Each equation is divided by its measured value, so that errors are relative.
    let row = |point: &Point| {
        let weight = point.rate / point.size;
        let others = point.size - 1.0;
        let mut row = vec![weight];
        if terms.contention {
            row.push(weight * others);
        }
        if terms.coherence {
            row.push(weight * point.size * others);
        }
        row
    };
    let rows: Vec<Vec<f64>> = points.iter().map(row).collect();
    let solved = least_squares(&rows)?;

    let first = 1.0 / solved[0];
    let mut others = solved[1..].iter().map(|value| value * first);
    let contention = if terms.contention {
        others.next()?
    } else {
        0.0
    };
    let coherence = if terms.coherence { others.next()? } else { 0.0 };
    let is_valid = first.is_finite() && first > 0.0 && contention >= 0.0 && coherence >= 0.0;

    let mut fit = Fit {
        first,
        contention,
        coherence,
        residual: 0.0,
        sizes: different_sizes(points),
        largest: points.iter().map(|point| point.size).fold(0.0, f64::max),
    };
    let squares = points
        .iter()
        .map(|point| (fit.rate(point.size) / point.rate - 1.0).powi(2));
    #[allow(clippy::cast_precision_loss, reason = "points are few")]
    let freedom = freedom as f64;
    fit.residual = (squares.sum::<f64>() / freedom).sqrt();
    is_valid.then_some(fit)
}

/// Returns the coefficients with which the rows come nearest to 1, by the normal equations. `None` if the rows do not
/// determine them.
fn least_squares(rows: &[Vec<f64>]) -> Option<Vec<f64>> {
    let columns = rows.first()?.len();
    let sum = |value: &dyn Fn(&[f64]) -> f64| rows.iter().map(|row| value(row)).sum::<f64>();
    let mut matrix: Vec<Vec<f64>> = (0..columns)
        .map(|one| {
            let products = (0..columns).map(|other| sum(&|row| row[one] * row[other]));
            products.chain([sum(&|row| row[one])]).collect()
        })
        .collect();

    for column in 0..columns {
        let pivot = (column..columns).max_by(|one, other| {
            matrix[*one][column]
                .abs()
                .total_cmp(&matrix[*other][column].abs())
        })?;
        matrix.swap(column, pivot);
        let divisor = matrix[column][column];
        if divisor.abs() < f64::MIN_POSITIVE {
            return None;
        }

        let scaled: Vec<f64> = matrix[column].iter().map(|value| value / divisor).collect();
        for (_, row) in matrix
            .iter_mut()
            .enumerate()
            .filter(|(place, _)| *place != column)
        {
            let factor = row[column];
            for (value, scaled) in row.iter_mut().zip(&scaled) {
                *value -= factor * scaled;
            }
        }
        matrix[column] = scaled;
    }
    Some(matrix.into_iter().map(|row| row[columns]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(rate: impl Fn(f64) -> f64, sizes: &[f64]) -> Vec<Point> {
        let point = |size: &f64| Point {
            size: *size,
            rate: rate(*size),
        };
        sizes.iter().map(point).collect()
    }

    fn assert_near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-6, "{found}, not {expected}");
    }

    #[test]
    fn a_model_that_made_the_points_is_found_again() {
        let sizes = [1.0, 2.0, 4.0, 8.0, 16.0];
        let usl = |n: f64| 1e6 * n / (1.0 + 0.05 * (n - 1.0) + 0.002 * n * (n - 1.0));
        let fit = Fit::of(&points(usl, &sizes)).unwrap();
        assert_near(fit.contention, 0.05);
        assert_near(fit.coherence, 0.002);
        assert_near(fit.first / 1e6, 1.0);
        assert!(fit.residual < 1e-6);

        let amdahl = |n: f64| 3.0 * n / (1.0 + 0.2 * (n - 1.0));
        let fit = Fit::of(&points(amdahl, &sizes)).unwrap();
        assert_near(fit.contention, 0.2);
        assert_near(fit.rate(100.0), amdahl(100.0));

        let fit = Fit::of(&points(|n| 7.0 * n, &sizes)).unwrap();
        assert_near(fit.first, 7.0);
        assert_near(fit.rate(10.0), 70.0);
    }

    #[test]
    fn nothing_is_predicted_from_few_or_from_scattered_points() {
        assert!(
            Fit::of(&points(|n| n, &[1.0]))
                .unwrap_err()
                .contains("needs 2 measured sizes")
        );
        assert!(Fit::of(&[]).is_err());

        let few = Fit::of(&points(|n| n, &[1.0, 2.0, 4.0])).unwrap();
        assert!(
            few.sentences("/s").contains("Nothing is predicted"),
            "{}",
            few.sentences("/s")
        );
        let enough = Fit::of(&points(|n| n, &[1.0, 2.0, 4.0, 8.0])).unwrap();
        let sentences = enough.sentences("/s");
        assert!(sentences.contains("predicts 32 /s at 32"), "{sentences}");

        let scattered = |n: f64| if n < 3.0 { n } else { 100.0 / n };
        let fit = Fit::of(&points(scattered, &[1.0, 2.0, 3.0, 4.0, 5.0])).unwrap();
        assert!(
            fit.sentences("/s").contains("misses the measured ones"),
            "{}",
            fit.sentences("/s")
        );
    }

    #[test]
    fn points_that_are_no_rates_are_left_out() {
        let mut bad = points(|n| 5.0 * n, &[1.0, 2.0, 4.0]);
        bad.extend(points(|_| f64::NAN, &[8.0]));
        bad.extend(points(|_| 0.0, &[16.0]));
        bad.extend(points(|n| n, &[0.0, f64::INFINITY]));
        let fit = Fit::of(&bad).unwrap();
        assert_near(fit.first, 5.0);
        assert!(fit.sentences("").contains("3 sizes"));
    }

    #[test]
    fn points_of_one_size_fit_no_model() {
        let error = Fit::of(&points(|_| 5.0, &[4.0, 4.0, 4.0])).unwrap_err();
        assert!(error.contains("there are 1"), "{error}");
    }
}
