package status

import "time"

// Report is how the pipeline is at a moment. Pointers are nil where nobody could say.
type Report struct {
	At time.Time `json:"at"`
	// Hops are those of the pipeline, in its order.
	Hops []Hop `json:"hops"`
	// IPQS is what the workers say of asking it; nil if none does.
	IPQS    *IPQS    `json:"ipqs,omitempty"`
	Workers []Worker `json:"workers"`
	// Unknown says what could not be asked, and why.
	Unknown []string `json:"unknown,omitempty"`
}

// Hop is one hop, over all workers.
type Hop struct {
	Name string `json:"name"`
	// Waiting, Retrying and Poison are messages: for the hop, in its waiting rooms, given up. Those in hand are in none.
	Waiting  *int `json:"waiting"`
	Retrying *int `json:"retrying"`
	Poison   *int `json:"poison"`
	// Consumers of the hop's queue, of all workers.
	Consumers *int `json:"consumers"`
	// Oldest is for how many seconds the oldest job has waited, at most.
	Oldest *float64 `json:"oldest_seconds"`
	// InHand is how many jobs the workers have in hand.
	InHand *int `json:"in_hand"`
	// Rate is how many jobs a second leave the hop, Faults how many runs a second of its stage fail, since the look before;
	// nil if none of the workers that were asked runs it.
	Rate   *float64 `json:"jobs_per_second"`
	Faults *float64 `json:"faults_per_second"`
	// Pauses are those of the workers: the hop takes no jobs there.
	Pauses []Pause `json:"pauses,omitempty"`
}

// Pause is why a worker's hop takes no jobs.
type Pause struct {
	Worker    string    `json:"worker"`
	Hop       string    `json:"hop"`
	Reason    string    `json:"reason"`
	Error     string    `json:"error"`
	Since     time.Time `json:"since"`
	NextProbe time.Time `json:"next_probe_at"`
	Probes    int       `json:"probes"`
}

// IPQS is what stands around asking it.
type IPQS struct {
	// Breaker is the worst state of the workers' circuit breakers: "closed", "half_open" or "open".
	Breaker string `json:"breaker,omitempty"`
	// SpentToday and DailyBudget are credits; a budget of 0 is without bound. Left is what the account had when it was last
	// read, Reserve what of that is held back. Reached says that nothing may be spent now.
	SpentToday  *int `json:"credits_spent_today,omitempty"`
	DailyBudget *int `json:"daily_budget,omitempty"`
	Left        *int `json:"credits_left,omitempty"`
	Reserve     *int `json:"credit_reserve,omitempty"`
	Reached     bool `json:"budget_reached"`
	// UnderWay and WaitingTurns are questions.
	UnderWay     *int `json:"lookups_under_way,omitempty"`
	WaitingTurns *int `json:"lookups_waiting,omitempty"`
}

// Worker is one process.
type Worker struct {
	Address string `json:"address"`
	Version string `json:"version,omitempty"`
	// Ready is nil where it could not be asked; Reasons says what is not as it should be, by dependency.
	Ready   *bool             `json:"ready"`
	Reasons map[string]string `json:"reasons,omitempty"`
	// Problem says why it, or a part of it, could not be asked.
	Problem string `json:"problem,omitempty"`
}
