//! Prediction by time: where an object is, so many seconds after it was seen last.

/// One coordinate of an object and its speed, with their covariance.
///
/// The speed is an Ornstein-Uhlenbeck process (Singer 1970): it is known for a while, then it is any. So what is predicted
/// over a second is the same in one step and in thirty, and an object that is not seen slows down instead of leaving the
/// frame.
#[derive(Debug, Clone, Copy)]
pub struct Coordinate {
    /// Position, pixels.
    pub at: f64,
    /// Speed, pixels a second.
    pub speed: f64,
    /// Variance of the position, of both together, of the speed.
    var: f64,
    both: f64,
    var_speed: f64,
}

impl Coordinate {
    /// Seen at `at` with this standard deviation, with any speed of this one.
    #[must_use]
    pub fn new(at: f64, deviation: f64, speed_deviation: f64) -> Self {
        Self { at, speed: 0.0, var: deviation * deviation, both: 0.0, var_speed: speed_deviation * speed_deviation }
    }

    /// `dt` seconds later; speeds have this standard deviation and are remembered for about `memory` seconds.
    pub fn predict(&mut self, dt: f64, speed_deviation: f64, memory: f64) {
        let kept = (-dt / memory).exp();
        let reach = memory * (1.0 - kept);
        let square = speed_deviation * speed_deviation;
        let noise_speed = square * (1.0 - kept * kept);
        let noise_both = square * memory * (1.0 - kept).powi(2);
        let noise = square * memory * memory * (2.0 * dt / memory - 3.0 + 4.0 * kept - kept * kept);
        self.at += reach * self.speed;
        self.speed *= kept;
        self.var += 2.0 * reach * self.both + reach * reach * self.var_speed + noise.max(0.0);
        self.both = kept * (self.both + reach * self.var_speed) + noise_both;
        self.var_speed = kept * kept * self.var_speed + noise_speed;
    }

    /// It was seen at `at`, with this standard deviation.
    pub fn update(&mut self, at: f64, deviation: f64) {
        let sum = self.var + deviation * deviation;
        let (gain, gain_speed) = (self.var / sum, self.both / sum);
        let miss = at - self.at;
        self.at += gain * miss;
        self.speed += gain_speed * miss;
        self.var_speed -= gain_speed * self.both;
        self.var *= 1.0 - gain;
        self.both *= 1.0 - gain;
    }

    /// Variance of where it will be seen with this standard deviation.
    #[must_use]
    pub fn spread(&self, deviation: f64) -> f64 {
        self.var + deviation * deviation
    }

    /// Moved with the camera: to another place and speed, lengths `scale` times as long.
    pub fn move_to(&mut self, at: f64, speed: f64, scale: f64) {
        (self.at, self.speed) = (at, speed);
        let square = scale * scale;
        self.var *= square;
        self.both *= square;
        self.var_speed *= square;
    }
}

/// The logarithm of a side of a box: it changes slowly, by shares.
#[derive(Debug, Clone, Copy)]
pub struct Side {
    /// Logarithm of the pixels.
    log: f64,
    var: f64,
}

impl Side {
    /// Seen so long, with this standard deviation of the logarithm.
    #[must_use]
    pub fn new(pixels: f64, deviation: f64) -> Self {
        Self { log: pixels.ln(), var: deviation * deviation }
    }

    /// Pixels.
    #[must_use]
    pub fn pixels(&self) -> f64 {
        self.log.exp()
    }

    /// `dt` seconds later; it changes by this share in a second.
    pub fn predict(&mut self, dt: f64, walk: f64) {
        self.var += walk * walk * dt;
    }

    /// It was seen so long.
    pub fn update(&mut self, pixels: f64, deviation: f64) {
        let gain = self.var / (self.var + deviation * deviation);
        self.log += gain * (pixels.ln() - self.log);
        self.var *= 1.0 - gain;
    }

    /// By how much a side misses, as a logarithm, and the variance of that.
    #[must_use]
    pub fn miss(&self, pixels: f64, deviation: f64) -> (f64, f64) {
        (pixels.ln() - self.log, self.var + deviation * deviation)
    }

    /// The camera came closer.
    pub fn scale(&mut self, scale: f64) {
        self.log += scale.ln();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_second_is_the_same_in_one_step_and_in_thirty() {
        let seen = || {
            let mut x = Coordinate::new(100.0, 3.0, 40.0);
            for step in 1..=10 {
                x.predict(0.1, 40.0, 4.0);
                x.update(100.0 + f64::from(step) * 2.0, 3.0);
            }
            x
        };
        let (mut one, mut thirty) = (seen(), seen());
        one.predict(1.0, 40.0, 4.0);
        (0..30).for_each(|_| thirty.predict(1.0 / 30.0, 40.0, 4.0));
        let pairs =
            [(one.at, thirty.at), (one.speed, thirty.speed), (one.var, thirty.var), (one.var_speed, thirty.var_speed)];
        for (a, b) in pairs {
            assert!((a - b).abs() < 1e-6 * a.abs().max(1.0), "{a} {b}");
        }
        assert!((one.at - 137.0).abs() < 5.0, "20 pixels a second: {}", one.at);
    }

    #[test]
    fn what_is_not_seen_slows_down() {
        let mut x = Coordinate::new(0.0, 1.0, 50.0);
        for step in 1..=20 {
            x.predict(0.1, 50.0, 4.0);
            x.update(f64::from(step) * 5.0, 1.0);
        }
        let before = x.at;
        x.predict(60.0, 50.0, 4.0);
        assert!((x.at - before) < 4.0 * 60.0 && x.speed.abs() < 0.01, "{} {}", x.at - before, x.speed);
        assert!(x.var.is_finite() && x.var > 0.0);
    }
}
