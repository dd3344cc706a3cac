package opencti

import "context"

// Country is a country of the platform's own data set.
type Country struct {
	StandardID string `json:"standard_id"`
	Name       string `json:"name"`
	// Aliases hold its codes of ISO 3166 (two and three letters) where the data set is OpenCTI's.
	Aliases []string `json:"x_opencti_aliases"`
}

// Countries reads all countries that the platform has.
func (c *Client) Countries(ctx context.Context) ([]Country, error) {
	var answer struct {
		Countries refs[Country] `json:"countries"`
	}
	if err := c.do(ctx, opCountries, nil, "", &answer); err != nil {
		return nil, err
	}
	return answer.Countries, nil
}
